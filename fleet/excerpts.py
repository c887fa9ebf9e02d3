"""Which lines of a failed command's output explain the failure. Pure functions on lines; nothing is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Final

_HEAD: Final = re.compile(
    r"""
      ^(?:FAILED|ERROR)\s+\S+(?:::|\.py|\.\w)                   # pytest: short summary
    | ^_{3,}\s\S.*\s_{3,}$                                      # pytest: the head of a failure
    | ^(?:FAIL|ERROR):\s                                        # unittest, ctest, automake
    | ^\s*---\sFAIL\b | ^FAIL\b\s+\S | ^panic:\s                # go test, jest, deno
    | \bpanicked\sat\b | ^----\s.*\sstdout\s----$               # cargo test
    | ^\s*not\sok\b                                             # TAP: node --test, prove, bats
    | ^\s*[✕✖✗✘❌×]\s*\S | ^\s*●\s+\S.*\s›\s | ^\s*●\s\S          # jest, node's spec reporter, vitest, mocha
    | ^\s*\(fail\)\s                                            # bun
    | ^\s{0,4}\d{1,4}\)\s+\S                                    # mocha, rspec, phpunit, ExUnit
    | ^\s*Failure/Error:                                        # rspec
    | ^\s*(?:Failure|Error):$ | ^\S+\#test_\S+.*[:=]            # minitest
    | ^\[\s+FAILED\s+\]\s                                       # googletest
    | ^\[(?:ERROR|error)\]\s+\S                                 # maven, sbt
    | \.(?:cc|cpp|cxx|c|h|hpp|swift|m):\d+:\s(?:Failure|error:) # googletest, XCTest
    | ^\s*\S.*\s>\s.*\sFAILED$ | ^>\sTask\s.*\sFAILED$          # gradle
    | ^\s*Failed\s\S.*\[\d | ^\s*Error\sMessage:                # dotnet test
    | \s\|\sFAIL\s\| | \*\*\*(?:Failed|Exception|Timeout)       # robot framework, ctest
    | \s\*\*\*\sFAILED\s\*\*\*                                 # scalatest
    | ^\#\s+Failed\stest | ^\s*\(in\stest\sfile\s               # prove, bats
    | ^error(?:\[\w+\])?:\s                                     # cargo build, rustc
    | ^\S+:\d+(?::\d+)?:\s(?:fatal\s)?error:\s                  # gcc, clang, javac, mypy
    | ^\S+\(\d+,\d+\):\serror\s | ^\s*\d+:\d+\s+error\s        # tsc, eslint
    | ^Failing\sscenarios | ^\s*Test\sCase\s.*failed            # cucumber, behave, XCTest
    """,
    re.VERBOSE,
)
_REASON: Final = re.compile(
    r"""
      ^E\s{2,}\S | ^>\s{2,}\S                                   # pytest: what went wrong, and where
    | ^\S{1,200}:\d+:\s\w*(?:Error|Exception|Failed)\b
    | ^\s*assert(?:ion)?\b
    | ^\s*[\w.$:\\]{0,120}(?:Error|Exception|Interrupt|Failure)(?:\s?\[\w+\])?(?::\s|:?$)
    | (?:^|[\s:\])])(?:fatal\s)?error(?:\[\w+\]|\s[A-Z]+\d+)?:\s      # gcc, clang, javac, tsc, mypy, go vet
    | (?:^|[\s:])error\s+(?:TS|CS|MSB|FS)?\d+:                  # tsc, dotnet build
    | ^\s*\d+:\d+\s+error\s                                     # eslint
    | ^\S+?:\d+(?::\d+)?:\s                                     # FILE:LINE: words
    | ^\s*(?:[-+]\s)?(?:expected|received|actual|want|got|left|right|expect)\b\s*[:=(]
    | \bwant(?:ed)?\b.*\bgot\b | \bgot\b.*\bwant\b | ^\s*\S+_test\.go:\d+
    | \bexpected\b.*\b(?:but|to|got|actual|was|received|found)\b
    | ^\s*(?:Traceback|Caused\sby:|undefined\sreference|fatal:|npm\sERR!|npm\serror|ERROR\b)
    | ^\s*(?:error:\s)?['"]?\w.*\b(?:No\ssuch\sfile|command\snot\sfound|cannot\sfind|not\sfound)\b
    | \bSegmentation\sfault\b | \bout\sof\smemory\b | \bAssertionError\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SUMMARY: Final = re.compile(
    r"""
      ^=+\s.*\b(?:passed|failed|error)\b.*=+$ | ^\d+\s(?:passed|failed)\b     # pytest, playwright
    | ^(?:FAILED|OK)\s\(                                                      # unittest
    | ^(?:Test\sSuites|Tests|Snapshots|Test\sFiles):?\s+\d                     # jest, vitest
    | ^\s*\d+\s(?:passing|failing|pending)\b                                  # mocha
    | ^[#ℹ]\s(?:tests|pass|fail)\s\d                                           # node --test
    | ^test\sresult:\s | ^(?:FAIL|ok)\t | ^error:\s(?:aborting|could\snot\scompile|test\sfailed)
    | ^\d+\s(?:examples?|runs?|tests?|scenarios?|steps?|features?)[,\s].* | ^Tests?:\s\d
    | ^(?:\[\w+\]\s)?Tests\srun:\s | ^(?:\[\w+\]\s)?BUILD\s(?:FAILURE|FAILED) | ^\d+\stests\scompleted
    | ^(?:Failed|Passed)!\s+-\s | ^\s*Total\stests:\s | ^\d+%\stests\spassed | ^The\sfollowing\stests\sFAILED
    | ^\[\s+(?:PASSED|FAILED)\s+\]\s\d | ^Executed\s\d+\stests? | ^Result:\s | ^Found\s\d+\serror
    | ^✖\s\d+\sproblem | ^make(?:\[\d+\])?:\s\*\*\*
    """,
    re.VERBOSE,
)
_CALM: Final = re.compile(r"^(?:\s*(?:✓|✔|√|ok|PASS(?:ED)?)\b|=== RUN|\s*--- PASS)|\b(?:0 errors?|0 failures?)\b")

#: What a program that runs others writes before each of their lines.
_PREFIX: Final = re.compile(
    r"""
      ^(?:
        \d{4}-\d\d-\d\dT[\d:.]{8,20}Z?\s                          # a time
      | [@\w./-]{1,80}:[A-Za-z][\w:-]{0,40}:\s                     # turbo, lerna
      | [@\w./-]{1,80}\s[A-Za-z][\w:-]{0,40}(?::|\$|\s\|)\s       # pnpm, yarn workspaces
      | [\w.-]{1,60}\s+\|\s                                       # docker compose, foreman
      | \[(?:info|warn|[\w.:@/-]{1,40})\]\s                       # sbt, concurrently
      )
    """,
    re.VERBOSE,
)

_BEFORE, _AFTER = 2, 12
"""How many lines around a telling line may belong to it."""


class _Tells(IntEnum):
    """What a line tells, the strongest first."""

    HEAD = 0
    REASON = 1
    SUMMARY = 2
    NOTHING = 3


#: What programs print without a network: messages of C libraries, git, curl, pip, npm and Go.
_NO_NETWORK: Final = (
    "Temporary failure in name resolution",
    "Name or service not known",
    "Could not resolve host",
    "Network is unreachable",
    "ENETUNREACH",
    "EAI_AGAIN",
    "ENOTFOUND",
    "dial tcp: lookup",
    "getaddrinfo failed",
)


def lacks_network(lines: Iterable[str]) -> bool:
    """Whether a line says that there was no network."""
    return any(sign in line for line in lines for sign in _NO_NETWORK)


def excerpt(lines: Sequence[str], most: int) -> list[str]:
    """At most ``most`` of ``lines`` (none empty), in order: all of a short output; of a long one the failures with
    the lines around them, the runner's summary, and the end.

    The first failures are kept in full, since later ones often follow from them; of the others their heads.
    """
    if len(lines) <= most:
        return list(lines)
    tells = [_tells(line) for line in lines]
    if all(told is _Tells.NOTHING for told in tells):
        return list(lines[-most:])
    chosen: set[int] = set()
    for part in _parts(lines, tells, most):
        for at in part:
            if len(chosen) >= most:
                break
            chosen.add(at)
    return [lines[at] for at in sorted(chosen)]


def _parts(lines: Sequence[str], tells: Sequence[_Tells], most: int) -> Iterator[Iterable[int]]:
    """The numbers of lines to keep, the most important first."""
    heads = _first_of_each(lines, [at for at, told in enumerate(tells) if told is _Tells.HEAD])
    reasons = _first_of_each(lines, [at for at, told in enumerate(tells) if told is _Tells.REASON])
    reasons = [at for pair in zip(reasons, reversed(reasons), strict=True) for at in pair]  # a log may come first
    summary = [at for at, told in enumerate(tells) if told is _Tells.SUMMARY]
    first = heads[0] if heads else reasons[0] if reasons else None
    yield [len(lines) - 1]
    yield summary[-max(1, most // 8) :]
    near = _around(heads, len(lines))
    of_heads = sorted(at for at in set(reasons) if at in near)
    if first is not None:
        yield [first, *of_heads[: max(1, most // 2)]]
    yield heads[: max(1, most // 4)]
    yield _spread(heads[: max(1, most // 12)], len(lines))
    yield [*of_heads, *reasons][: max(2, most // 2)]
    yield _spread([*heads, *reasons], len(lines))
    yield range(len(lines) - 1, -1, -1)


def _tells(line: str) -> _Tells:
    """What the line tells, or what it tells behind the prefix of another program."""
    bare = _PREFIX.sub("", line)
    if bare == line:
        return _told(line)
    if _CALM.search(bare):
        return _Tells.NOTHING
    return min(_told(line), _told(bare))


def _told(line: str) -> _Tells:
    if _CALM.search(line):
        return _Tells.NOTHING
    if _SUMMARY.search(line):
        return _Tells.SUMMARY
    if _HEAD.search(line):
        return _Tells.HEAD
    return _Tells.REASON if _REASON.search(line) else _Tells.NOTHING


def _first_of_each(lines: Sequence[str], numbers: Sequence[int]) -> list[int]:
    """``numbers`` without those of lines that are repeated."""
    seen: dict[str, int] = {}
    for at in numbers:
        seen.setdefault(lines[at].strip(), at)
    return list(seen.values())


def _around(centers: Sequence[int], size: int) -> set[int]:
    return {at for center in centers for at in range(max(0, center - _BEFORE), min(size, center + _AFTER + 1))}


def _spread(centers: Sequence[int], size: int) -> Iterator[int]:
    """The lines around each center, the nearest first."""
    for center in centers:
        for distance in range(_AFTER + 1):
            if center + distance < size:
                yield center + distance
            if 0 < distance <= _BEFORE and center >= distance:
                yield center - distance
