"""Runs a gate's command once for each phase, and signs what it saw. It is sent to the gate's machine.

Standard library only, Python 3.9. It runs in front of the tested code: the code is in child processes, which report
through a pipe, end when their phase ends, and cannot read this process.

Usage: ``python3 -c CODE PLAN SHA256``, PLAN of ``gates.layers.course``, and the key in the environment. It exits as
the change's run did, or with 125 and without a report when it cannot do its own part.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from typing import Any

FAILED = 125
KEY = "AIRBOSS_LAYERS_KEY"
DESCRIPTORS = "AIRBOSS_LAYERS_FDS"
MOST_REPORT = 64 << 20
MOST_FILES = 200_000
MOST_INVERTED = 200
MOST_SUSPECTS = 50
PR_SET_DUMPABLE = 4
PARTS = ("watching", "equality", "hiding", "swallowing", "outside")  # of our plugin, each run under other names
LISTS = ["equal", "reads", "stand_ins", "bodies", "broken", "commands", "replaced", "callers", "processes"]
LISTS += ["data", "loaded", "swallowed", "outside"]
IMPORT = "from gates.layers.kit import pytest_(%s)" % "|".join(PARTS)
KEPT = {"tree", "base", "home", "scratch", "report"}

Json = dict[str, Any]


def take_key() -> bytes:
    """The key. After that, the environment does not show it to others of this login; on Linux, nor does memory."""
    import ctypes

    libc = ctypes.CDLL(None)
    if sys.platform == "linux":
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    key = os.environ[KEY].encode()
    libc.getenv.restype = ctypes.c_void_p
    at = libc.getenv(KEY.encode())
    ctypes.memset(at, ord("x"), len(key))  # where the kernel looks for the environment
    del os.environ[KEY]
    return key


def read_plan(path: str, sha256: str) -> Json:
    """The plan, when it is the controller's."""
    with open(path, "rb") as file:
        text = file.read()
    os.unlink(path)
    if hashlib.sha256(text).hexdigest() != sha256:
        raise ValueError("the plan of this run was changed by another process of its login")
    plan: Json = json.loads(text)
    return plan


class Phases:
    """One gate run: its plan, and the phases that have ended."""

    def __init__(self, plan: Json) -> None:
        self.plan = plan
        self.dice = random.SystemRandom()
        self.new: list[str] = []
        self.environment = dict(os.environ)
        self.runner: str = plan["runner"]
        self.go: Json = {}  # what reads the results of go's tests
        if self.runner == "go":
            exec(compile(plan["plugin"], "go_results.py", "exec"), self.go)

    def run(self, tree: str, extra: Json, shown: bool, watched: bool = True) -> Json:
        """Runs the command in ``tree`` to its end. ``extra`` is for our plugin, where it is ``watched``. ``shown``:
        keeps its output."""
        token = "%x" % self.dice.getrandbits(64)
        kit = tempfile.mkdtemp(prefix="kit-")
        plugin, ending = "p" + token, ".cjs" if self.runner == "node" else ".py"
        canary = os.path.join(kit, "test_" + token + ending)
        for path, text in (
            (os.path.join(kit, plugin + ".py"), self.plan["plugin"]),
            *((os.path.join(kit, part + token + ".py"), self.plan[part]) for part in PARTS),
            (canary, self.plan["canaries"].replace("CANARY", token)),
        ):
            with open(path, "w") as file:
                file.write(re.sub(IMPORT, r"import \g<1>" + token, text))
        spared = self.plan.get("quarantine", ())
        asked = dict(extra, canary=canary, kit=kit, plugin=plugin, tree=tree, quarantine=spared)
        before = stamps(tree, self.plan["provided"])
        with tempfile.TemporaryFile() as order:
            order.write(json.dumps(asked).encode())
            order.flush()
            seconds = self.plan["timeout"] * (self.plan["slower"] if extra.get("check") else 1)
            argv = list(self.plan["argv"])
            if self.runner == "node" and extra.get("check"):
                argv = [argv[0], "--test", canary]
            inverted: list[str] = []
            if self.go and extra.get("check"):
                argv, inverted = self.go["checking"](self.plan, tree, kit, token, extra["invert"])
            using = os.path.join(kit, plugin) if watched and not self.go else ""
            results = self.go["GoResults"](shown, self.plan["verbose"]) if self.go else None
            seen = self._watch(argv, tree, using, order.fileno(), results=results, shown=shown, seconds=seconds)
        shutil.rmtree(kit, ignore_errors=True)
        after = stamps(tree, self.plan["provided"])
        self.new = [os.path.join(tree, path) for path in after.keys() - before.keys()]
        seen["rewritten"] = sorted(path for path in before if after.get(path) != before[path])[:1000]
        if results is not None:
            del seen["lines"]
            return dict(seen, inverted=inverted, **results.seen(seen.get("status"), token))
        if self.runner == "node":
            report = b"\n".join(seen.pop("lines")).decode("utf-8", "replace")
            return dict(seen, token=token, report=report)
        return split(seen, token)

    def run_base(self, extra: Json) -> Json:
        """Runs it in the base's tree, at the path of the change's: what setups made refers to that path."""
        tree, base, aside = self.plan["tree"], self.plan["base"], self.plan["tree"] + ".head"
        os.rename(tree, aside)
        os.rename(base, tree)
        try:
            return self.run(tree, extra, shown=False)
        finally:
            os.rename(tree, base)
            os.rename(aside, tree)
            self.new = [base + path[len(tree) :] for path in self.new]

    def clean(self) -> None:
        """Ends what the last phase left running, and removes what it left behind, so that the next one cannot know
        that it is not the first. Only inside walls: there, no process and no directory is another's."""
        room = os.path.dirname(self.plan["tree"])
        if not self.plan["alone"] or os.getppid() != 1 or room != "/airboss" or not os.path.isdir(room):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
        left = list(self.new)
        left += [os.path.join(room, name) for name in os.listdir(room) if name not in KEPT]
        for place in (os.environ["HOME"], os.environ["TMPDIR"], "/dev/shm"):
            left += [os.path.join(place, name) for name in os.listdir(place)] if os.path.isdir(place) else []
        for path in left:
            remove(path)

    def _watch(
        self, argv: list[str], tree: str, plugin: str, order: int, *, results: Any, shown: bool, seconds: float
    ) -> Json:
        ours, theirs = os.pipe()
        if not shown:
            argv = [word.replace(self.plan["junit"], self.plan["junit"] + ".other") for word in argv]
        environment = dict(self.environment)
        kit, name = os.path.split(plugin)
        added = [("PYTHONPATH", kit, os.pathsep), ("PYTEST_PLUGINS", name, ",")] if plugin else []
        if self.runner == "node":
            added = [("NODE_OPTIONS", self.plan["reporters"] % theirs, " ")]
        environment.setdefault("GOENV", "off")  # no run of go configures the next one
        environment["PATH"] = self.plan["path"] + environment["PATH"]
        environment[DESCRIPTORS] = "%d,%d" % (order, theirs)
        for name, value, joint in added:
            environment[name] = joint.join(part for part in (value, environment.get(name, "")) if part)
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                argv,
                cwd=tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=theirs if results is not None else None if shown else subprocess.DEVNULL,
                stderr=None if shown else subprocess.DEVNULL,
                pass_fds=() if results is not None else (order, theirs),
                start_new_session=True,
            )
        except OSError as error:
            os.close(ours)
            return {"missing": "%s: %s" % (argv[0], error.strerror), "lines": []}
        finally:
            os.close(theirs)
        data, late = follow(process, ours, started + seconds, results)
        os.close(ours)
        return {
            "status": process.returncode,
            "late": late,
            "seconds": time.monotonic() - started,
            "lines": data.split(b"\n")[:-1],
        }

    def inverted(self, baseline: Json) -> list[str]:
        """The tests to invert: those that failed on the base first, then others as long as they are quick."""
        suspects = [name for name, (outcome, _) in baseline.items() if outcome in ("failed", "error")]
        others = [name for name, (outcome, _) in baseline.items() if outcome == "passed"]
        self.dice.shuffle(suspects)
        self.dice.shuffle(others)
        chosen = suspects[:MOST_SUSPECTS]
        left = max(1000.0, sum(took for _, took in baseline.values()) / 10)
        for name in others:
            left -= baseline[name][1]
            if len(chosen) >= MOST_INVERTED or (left < 0 and chosen):
                break
            chosen.append(name)
        return chosen


def remove(path: str) -> None:
    """Removes what is at a path, if it can."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def follow(process: subprocess.Popen[bytes], pipe: int, deadline: float, results: Any) -> tuple[bytes, bool]:
    """What the process reports until it ends, or the time is up; then all that it started is ended. ``results``
    take it as it comes."""
    data = bytearray()
    os.set_blocking(pipe, False)
    late = False
    while process.poll() is None and not late:
        late = time.monotonic() > deadline
        select.select([pipe], [], [], 0.05)
        take(pipe, data)
        if results is not None:
            results.feed(bytes(data))
            data.clear()
        if len(data) > MOST_REPORT:
            break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    take(pipe, data)
    if results is not None:
        results.feed(bytes(data))
    return bytes(data), late


def take(pipe: int, data: bytearray) -> None:
    """Adds what is there to be read. The end of the pipe is no news: the process has to end, too."""
    while True:
        try:
            piece = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return
        if not piece:
            time.sleep(0.005)
            return
        data += piece
        if len(data) > MOST_REPORT:
            return


def files_of(tree: str, provided: list[str]) -> Iterator[tuple[str, str]]:
    """The path and the name within the tree of each file, without what setups made."""
    for directory, below, names in os.walk(tree):
        within = os.path.relpath(directory, tree)
        below[:] = [name for name in below if os.path.normpath(os.path.join(within, name)) not in provided]
        for name in names:
            yield os.path.join(directory, name), os.path.normpath(os.path.join(within, name))


def stamps(tree: str, provided: list[str]) -> dict[str, tuple[int, int]]:
    """Inode and change time of each file: no program can set them back."""
    found: dict[str, tuple[int, int]] = {}
    for path, name in files_of(tree, provided):
        with contextlib.suppress(OSError):
            about = os.lstat(path)
            found[name] = (about.st_ino, about.st_ctime_ns)
        if len(found) > MOST_FILES:
            return found
    return found


def empty(tree: str, provided: list[str]) -> None:
    """Removes all files of a tree, except what setups made: that is mounted, and cannot be removed."""
    for path, _ in list(files_of(tree, provided)):
        with contextlib.suppress(OSError):
            os.unlink(path)
    if not provided:
        shutil.rmtree(tree, ignore_errors=True)


def split(seen: Json, token: str) -> Json:
    """The phase's result from the lines of its plugin: canaries apart from tests."""
    tests, canaries = Json(), Json()
    result: Json = {
        **{name: value for name, value in seen.items() if name != "lines"},
        "hello": False, "end": None, "forked": False, "at": {}, "tests": tests, "canaries": canaries,
        **{name: [] for name in LISTS},
    }  # fmt: skip
    for line in seen["lines"]:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            said = json.loads(line)
            kind = said["k"]
            result["forked"] |= bool(said.get("forked"))
            result["hello"] |= kind == "hello"
            if kind == "test":
                (canaries if token in said["id"] else tests)[said["id"]] = (said["outcome"], said["ms"])
            elif kind == "end":
                result["end"] = said["status"] or result["end"] or 0
            elif kind == "at":
                result["at"][said["id"]] = said["what"]
            elif kind in LISTS:
                result[kind].append(said["what"])
    return result


def checked(phases: Phases, head: Json, baseline: Json, broken: list[str]) -> Json:
    """The run with canaries and inverted tests. Tests in files that the base could not load failed there, too."""
    late = {
        name: ("failed", took) for name, (_, took) in head["tests"].items() if name.partition("::")[0] in broken
    }
    known = {**late, **baseline}
    invert = phases.inverted(known)
    hidden = [name for name in invert if known[name][0] in ("failed", "error")]
    extra = {"check": True, "invert": invert, "hidden": hidden, "edited": head.pop("loaded")}
    extra["only"] = None if phases.plan["every"] else invert
    seen = phases.run(phases.plan["tree"], extra, shown=False)
    there = baseline.keys() | seen["tests"].keys()  # the base's own files may have fewer
    seen["inverted"], seen["hidden"] = ([name for name in names if name in there] for names in (invert, hidden))
    return dict(seen, every=phases.plan["every"])


def restore(plan: Json) -> None:
    """Gives the tree the base's tests: what the change adds to them is removed, what it changed is as it was."""
    tree = os.path.realpath(plan["tree"])
    old = [(path, text, runs) for path, (text, runs) in plan["restore"].items()]
    for path, text, runs in [*((path, None, False) for path in plan["remove"]), *old]:
        whole = os.path.join(tree, path)
        if not (os.path.realpath(os.path.dirname(whole)) + os.sep).startswith(tree + os.sep):
            continue
        remove(whole)
        if text is not None:
            above = os.path.dirname(whole)
            while not os.path.lexists(above):
                above = os.path.dirname(above)
            if not os.path.isdir(above):
                remove(above)
            os.makedirs(os.path.dirname(whole), exist_ok=True)
            with open(whole, "wb") as file:
                file.write(base64.b64decode(text))
            os.chmod(whole, 0o755 if runs else 0o644)


def main() -> int:
    """Runs the phases that the plan asks for; its exit status is the head's."""
    key = take_key()
    plan = read_plan(sys.argv[1], sys.argv[2])
    phases, report = Phases(plan), Json()
    baseline, watched = plan["baseline"], plan["watched"]
    if plan["base"]:
        report["base"] = phases.run_base({"base": True})
        phases.clean()
        if report["base"].get("hello") and not report["base"]["late"]:
            report["again"] = phases.run_base({"check": True, "invert": []})
        elif phases.runner == "node" and report["base"].get("report"):
            report["again"] = phases.run_base({})
        baseline = report["base"].get("tests", {})
        watched = report["base"].get("hello", False)
        empty(plan["base"], plan["provided"])
        phases.clean()
    asked = {name: plan[name] for name in ("names", "edited")}
    report["head"] = head = phases.run(plan["tree"], asked, shown=True, watched=watched)
    if phases.runner != "pytest":
        if head.get("status") == 0 and plan["check"]:
            phases.clean()
            if plan["every"]:
                restore(plan)
                report["alone"] = phases.run(plan["tree"], {}, shown=False)
                phases.clean()
            whole = {name: seen for name, seen in (baseline or {}).items() if "/" not in name.partition(" ")[2]}
            invert = phases.inverted(whole)
            report["check"] = phases.run(plan["tree"], {"check": True, "invert": invert}, shown=False)
    elif head.get("status") == 0 and head["hello"] and plan["check"] and baseline is not None:
        phases.clean()
        restore(plan)
        report["check"] = checked(phases, head, baseline, report.get("base", plan)["broken"])
    body = json.dumps(report).encode()
    seal = hmac.new(key, body, hashlib.sha256).hexdigest().encode()
    with open(plan["report"] + ".new", "wb") as out:
        out.write(seal + b"\n" + body)
    os.replace(plan["report"] + ".new", plan["report"])
    status = 124 if head.get("late") else head.get("status", 127)
    if status < 0:
        os.kill(os.getpid(), -status)
    return int(status)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        sys.exit(FAILED)
