"""Submodules, from a person's words to what lands: an agent over SSH, a gate here."""

from __future__ import annotations

from fleet.git.lfs import Pointer
from tests.far_end.repositories import advance, git, make_bare
from tests.scenarios.house import house


def test_submodules_are_there_for_agents_and_gates_and_what_is_done_to_them_is_said() -> None:
    """The agent works over SSH, the gate here. The agent is told once, and what it did inside is left out."""
    with house() as shop:
        shop.start()
        large: dict[str, str | bytes] = {
            ".gitattributes": "*.bin filter=lfs -text\n",
            "m.bin": Pointer("ab" * 32, 12).text,
        }
        lib = make_bare(shop.directory / "lib.git", {"lib.txt": "GOOD\n", **large})
        work, first = shop.bare.with_suffix(".work"), git(lib, "rev-parse", "main")
        git(work, "pull", "--quiet", "--ff-only", "origin", "main")
        (work / "vendor/lib").mkdir(parents=True)
        git(work, "update-index", "--add", "--cacheinfo", f"160000,{first},vendor/lib")
        check = 'import pathlib, sys\nsys.exit("GOOD" not in pathlib.Path("vendor/lib/lib.txt").read_text())\n'
        (work / "check.py").write_text(check)
        git(work, "commit", "--quiet", "--all", "--message", "a submodule")
        git(work, "push", "--quiet", "origin", "main")
        answer = shop.say("/run shell echo x > x.txt", wait=True)
        assert answer.status == 2
        assert f"'vendor/lib' at {first[:12]} cannot be used: .gitmodules does not say" in shop.why(answer.task)
        assert shop.of(answer.task, "session.placed", "turn.started") == []
        asked = shop.say("/ask machine=macbook shell cat vendor/lib/lib.txt", wait=True)
        assert (asked.status, shop.of(asked.task, "session.placed")) == (2, []), "a question is told as early"

        advance(shop.bare, {".gitmodules": '[submodule "lib"]\n\tpath = vendor/lib\n\turl = ../lib.git\n'})
        inside = "cat vendor/lib/lib.txt > work.txt; echo mine >> vendor/lib/lib.txt"
        answer = shop.say(f"/run machine=macbook shell {inside}", wait=True)
        assert (answer.status, shop.state(answer.task)) == (0, "landed")
        prompts = [started.event.body()["prompt"] for started in shop.of(answer.task, "turn.started")]
        assert len(prompts) == 2 and "'vendor/lib' (files: 1): it is not taken" in prompts[1]
        (taken,) = shop.of(answer.task, "snapshot.made")
        assert list(taken.event.body()["left_out"]) == [
            "what was changed inside the submodule 'vendor/lib' (files: 1)"
        ]
        assert "GOOD" in shop.main("work.txt")
        (judged,) = shop.of(answer.task, "verdict.given")
        assert "'vendor/lib/m.bin': only the pointer was there" in str(judged.event.body()), "and the card says so"
        assert git(shop.bare, "rev-parse", "main:vendor/lib") == first

        second = advance(lib, {"lib.txt": "GOOD, too\n"})
        moved = f"git -C vendor/lib fetch -q {lib} main && git -C vendor/lib checkout -q --detach {second}"
        task = shop.say(f"/run machine=macbook shell {moved}").task
        shop.until(lambda: shop.state(task) == "held", "a person is asked")
        assert f"vendor/lib is a submodule that the change moves from {first[:12]} to {second[:12]}" in shop.why(
            task
        )
        assert shop.say(f"/approve {task}").status == 0
        assert shop.wait(task).status == 0
        assert git(shop.bare, "rev-parse", "main:vendor/lib") == second
