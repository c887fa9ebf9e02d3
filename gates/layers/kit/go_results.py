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
MODULE = re.compile(r"(?m)^module[ \t]+\"?([^\s\"]+)")
#: How gofmt writes the first line of a test.
TEST = re.compile(r"(?m)^func (Test\w*)\(([A-Za-z]\w*) \*(?:\w+\.)?T\) \{")

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


def checking(plan: Json, tree: str, kit: str, token: str, chosen: List[str]) -> Tuple[List[str], List[str]]:
    """The command of the run with canaries, and the names of the tests that it inverts."""
    path, inverted = overlay(plan, tree, kit, token, chosen)
    names = sorted({name.split(" ", 1)[1] for name in inverted})
    only = "^(%s)$" % "|".join(["Test_%s.*" % token, *names]) if names else "."
    return [word.replace("{overlay}", path).replace("{only}", only) for word in plan["check_argv"]], inverted


def overlay(plan: Json, tree: str, kit: str, token: str, chosen: List[str]) -> Tuple[str, List[str]]:
    """Writes canaries for the packages with tests outside the tree, and the chosen tests inverted; a list lets go
    read them as files of the tree. Returns the list's path, and what is inverted."""
    replaced: Dict[str, str] = {}
    inverted: List[str] = []

    def put(path: str, text: str) -> None:
        file = os.path.join(kit, "file%d.go" % len(replaced))
        with open(file, "w", encoding="utf-8", errors="surrogateescape") as out:
            out.write(text)
        for root in {tree, os.path.realpath(tree)}:
            replaced[os.path.normpath(os.path.join(root, path))] = file

    for directory in plan["directories"]:
        name = package_of(os.path.join(tree, directory))
        if not name:
            continue
        text = plan["canaries"].replace("PACKAGE", name).replace("CANARY", token)
        put(os.path.join(directory, "airboss_%s_test.go" % token), text)
        package = import_path(tree, directory)
        wanted = {each.split(" ", 1)[1] for each in chosen if each.split(" ", 1)[0] == package}
        for file in tests_in(os.path.join(tree, directory)) if wanted else []:
            text, found = inverted_in(os.path.join(tree, directory, file), wanted)
            if found:
                put(os.path.join(directory, file), text)
                inverted += ["%s %s" % (package, each) for each in found]
    path = os.path.join(kit, "overlay.json")
    with open(path, "w") as out:
        json.dump({"Replace": replaced}, out)
    return path, sorted(set(inverted))


def inverted_in(path: str, wanted: Any) -> Tuple[str, List[str]]:
    """A file's text in which these tests fail at their end, with no line more; and which they are."""
    found: List[str] = []

    def failing(test: Any) -> str:
        if test.group(1) not in wanted:
            return str(test.group(0))
        found.append(test.group(1))
        return "%s defer %s.Fail();" % (test.group(0), test.group(2))

    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return TEST.sub(failing, file.read()), found
    except OSError:
        return "", []


def import_path(tree: str, directory: str) -> str:
    """The name by which go knows the package of a directory; empty: no module has it."""
    above = directory
    while True:
        try:
            with open(os.path.join(tree, above, "go.mod"), encoding="utf-8", errors="replace") as file:
                module = MODULE.search(file.read(1 << 16))
            below = os.path.relpath(directory or ".", above or ".").replace(os.sep, "/")
            return "" if not module else module.group(1) if below == "." else "%s/%s" % (module.group(1), below)
        except OSError:
            if not above:
                return ""
            above = os.path.dirname(above)


def package_of(directory: str) -> str:
    """The name of the package that the tests of a directory belong to; empty: there are none."""
    for name in tests_in(directory):
        try:
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
                found = PACKAGE.search(file.read(1 << 16))
        except OSError:
            continue
        if found:
            package = found.group(1)
            return package[: -len("_test")] if package.endswith("_test") else package
    return ""


def tests_in(directory: str) -> List[str]:
    """The names of the files of a directory that have tests."""
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith("_test.go"))
    except OSError:
        return []
