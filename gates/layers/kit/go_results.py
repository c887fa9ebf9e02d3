"""Reads what ``go test -json`` prints, line by line, and shows what ``go test`` would have shown.

Standard library only, Python 3.9: it is sent to the gate's machine with the launcher's plan.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, Tuple

MOST_LINE = 1 << 20
MOST_HELD = 4 << 20
MOST_HELD_IN_ALL = 64 << 20
MOST_PACKAGES = 20_000
MOST_TESTS = 200_000
PACKAGE = re.compile(r"(?m)^package[ \t]+(\w+)")

Json = Dict[str, Any]


class GoResults:
    """The results of one ``go test``. ``shown``: its output goes to our own, all of it where it is ``verbose``."""

    def __init__(self, shown: bool, verbose: bool) -> None:
        self.shown, self.verbose = shown, verbose
        self.tests: Dict[str, Tuple[str, float]] = {}
        self.packages: Dict[str, str] = {}
        self.held: Dict[str, bytearray] = {}
        self.left = bytearray()
        self.size = 0

    def feed(self, data: bytes) -> None:
        """Takes the next piece."""
        self.left += data
        if b"\n" not in data and len(self.left) <= MOST_LINE:
            return
        *lines, rest = bytes(self.left).split(b"\n")
        self.left = bytearray(rest)
        if len(rest) > MOST_LINE:
            self._write(bytes(self.left))
            self.left.clear()
        for line in lines:
            self._line(line)

    def seen(self, status: "int | None", token: str) -> Json:
        """What it came to: canaries have ``token`` in their names. A package that did not end was cut off."""
        self._line(bytes(self.left))
        self.left.clear()
        ended = bool(self.packages) and "" not in self.packages.values()
        canaries = {name: seen for name, seen in self.tests.items() if token in name}
        return {
            "hello": bool(self.packages),
            "end": int("fail" in self.packages.values()) if ended else None,
            "tests": {name: seen for name, seen in self.tests.items() if name not in canaries},
            "canaries": canaries,
            "broken": sorted(self._broken()) if status == 0 else [],
        }

    def _broken(self) -> List[str]:
        with_tests = {name.split(" ", 1)[0] for name, (outcome, _) in self.tests.items() if outcome != "skipped"}
        return [name for name, end in self.packages.items() if end == "fail" and name not in with_tests]

    def _line(self, line: bytes) -> None:
        try:
            read = json.loads(line) if line.startswith(b"{") else {}
        except (ValueError, RecursionError):
            read = {}
        said: Json = read if isinstance(read, dict) else {}
        action, package, test = (str(said.get(key) or "") for key in ("Action", "Package", "Test"))
        if not action:
            if line:
                self._write(line + b"\n")
        elif action in ("output", "build-output"):
            self._output(package, test, str(said.get("Output") or "").encode("utf-8", "replace"))
        elif test:
            self._test("%s %s" % (package, test), action, said.get("Elapsed"))
        elif package and action in ("start", "pass", "fail", "skip") and len(self.packages) < MOST_PACKAGES:
            self.packages[package] = "" if action == "start" else action

    def _output(self, package: str, test: str, text: bytes) -> None:
        if self.verbose or not test:
            if self.verbose or text not in (b"PASS\n", b"FAIL\n"):
                self._write(text)
            return
        if len(self.held) >= MOST_TESTS:
            return
        kept = self.held.setdefault("%s %s" % (package, test), bytearray())
        room = len(kept) < MOST_HELD and self.size < MOST_HELD_IN_ALL
        if room and not text.startswith((b"=== RUN", b"=== PAUSE", b"=== CONT", b"=== NAME")):
            kept += text
            self.size += len(text)

    def _test(self, name: str, action: str, elapsed: Any) -> None:
        if len(self.tests) >= MOST_TESTS and name not in self.tests:
            return
        if action == "run":
            self.tests.setdefault(name, ("error", 0.0))  # unless it says how it ended
            return
        outcome = {"pass": "passed", "fail": "failed", "skip": "skipped"}.get(action)
        if outcome is None:
            return
        before = self.tests.get(name, ("error", 0.0))[0]
        if before != "failed":  # of several ends of one test, a failure counts
            took = elapsed if isinstance(elapsed, (int, float)) else 0
            self.tests[name] = (outcome, took * 1000.0)
        text = self.held.pop(name, bytearray())
        self.size -= len(text)
        if outcome == "failed":
            self._write(bytes(text))

    def _write(self, data: bytes) -> None:
        if self.shown:
            while data:
                data = data[os.write(1, data) :]


def overlay(tree: str, kit: str, directories: List[str], canaries: str, token: str) -> str:
    """Writes canaries for the packages in these directories outside the tree, and a list that lets go read them as
    files of the tree. Returns the list's path."""
    replaced: Dict[str, str] = {}
    for number, directory in enumerate(directories):
        name = package_of(os.path.join(tree, directory))
        if not name:
            continue
        file = os.path.join(kit, "canary%d.go" % number)
        with open(file, "w") as out:
            out.write(canaries.replace("PACKAGE", name).replace("CANARY", token))
        for root in {tree, os.path.realpath(tree)}:
            replaced[os.path.normpath(os.path.join(root, directory, "airboss_%s_test.go" % token))] = file
    path = os.path.join(kit, "overlay.json")
    with open(path, "w") as out:
        json.dump({"Replace": replaced}, out)
    return path


def package_of(directory: str) -> str:
    """The name of the package that the tests of a directory belong to; empty: there are none."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith("_test.go"))
    except OSError:
        return ""
    for name in names:
        try:
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
                found = PACKAGE.search(file.read(1 << 16))
        except OSError:
            continue
        if found:
            package = found.group(1)
            return package[: -len("_test")] if package.endswith("_test") else package
    return ""
