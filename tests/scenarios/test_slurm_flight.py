"""A task on a slot that is a job of a real Slurm cluster, and one whose job is taken away: in `make torture`."""

from __future__ import annotations

import sys
from typing import Any

from tests.conftest import FULL
from tests.far_end.cluster import running_cluster
from tests.scenarios.house import house
from tests.scenarios.test_pools import seen


def a_task_lands_from_a_job_and_one_whose_job_is_taken_away_is_lost() -> None:
    with house() as made, running_cluster(made.directory / "slurm") as cluster:
        pool: dict[str, Any] = {
            "provider": "slurm",
            "python": sys.executable,
            "home": str(cluster.directory / "slots"),
        }
        pool |= {"labels": ["big"], "idle": "1s", "inventory_every": "1s", "session_walls": False}
        made.configure(pools={"cluster": pool})
        made.start(SLURM_CONF=str(cluster.directory / "slurm.conf"))
        assert made.say("/run needs=big write GOOD one", wait=True).status == 0
        assert made.main() == "GOOD one"
        made.until(lambda: cluster.run("squeue", "-h") == "", "the idle slot is given back")
        taken = made.say("/run on=cluster write GOOD two\nshell sleep 600").task
        made.until(lambda: made.state(taken) == "running", "another one runs in a job of its own")
        cluster.run("scancel", "--full", "--signal=KILL", "--user=root")
        cluster.run("scancel", "--user=root")
        made.until(lambda: made.state(taken) == "lost", "its job was taken away: lost, never passed")
        made.until(lambda: "pool cluster: no slots" in seen(made, "/machines"), "nothing is left")
        made.stop()


if FULL:  # make torture: it needs Slurm
    test_a_task_lands_from_a_job = a_task_lands_from_a_job_and_one_whose_job_is_taken_away_is_lost
