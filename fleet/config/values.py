"""Single values of ``fleet.toml`` and ``airboss.toml``: their types, each with its check."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError

from fleet.branch_names import is_branch_name
from fleet.errors import Misused
from fleet.globs import Glob, unmeant
from fleet.model import PersonId
from fleet.offers import NEED_PATTERN

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
LOGIN_PATTERN = r"^$|^[A-Za-z0-9_][A-Za-z0-9._-]*$"
HOST_PATTERN = r"^$|^[A-Za-z0-9:\[][A-Za-z0-9:\[\]._%-]*$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
DURATION_PATTERN = r"^[1-9][0-9]{0,6}(s|m|h)$"
PORTS_PATTERN = r"^[1-9][0-9]{3,4}-[1-9][0-9]{3,4}$"
#: How many of a machine's ports each task has.
PORTS_OF_A_TASK = 10
SIZE_PATTERN = r"^$|^[1-9][0-9]{0,5}(M|G|T)$"

LABEL_PATTERN = r"^[a-z0-9][a-z0-9._-]*(=[0-9]{1,9}(\.[0-9]{1,9}){0,5}[MGT]?)?$"

LONG_DURATION_PATTERN = r"^[1-9][0-9]{0,6}(s|m|h|d)$"
MODEL_PATTERN = r"^[^\x00-\x20\x7f-][^\x00-\x20\x7f]*$"
ANY_MODEL_PATTERN = r"^[^\x00-\x20\x7f]*$"
DIRECTORY_PATTERN = r"^/[^\x00\n:]*$"
FULL_PATH_PATTERN = r"^(/[^\x00\n]*)?$"
BACKUP_PATTERN = r"^(/[^\x00\n]+)?$"
SOCKET_PATTERN = r"^/[^\x00\n]{1,90}$"
IN_HOME_PATTERN = r"^[^/\x00\n][^\x00\n]*$"
PROVIDED_PATTERN = r"^[^\\\x00-\x1f\x7f:]+$"
PROGRAM_PATTERN = r"^[A-Za-z0-9/~_.][^\x00\n]*$"
ONE_LINE_PATTERN = r"^[^\x00-\x1f\x7f]+$"
FILTER_PATTERN = r"^[^\s\x00]+$"
NOTE_KEY_PATTERN = r"^[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*$"
JOB_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"
OPTION_PATTERN = r"^--[a-z][a-z-]*(=[^\x00\n]*)?$"
DIGEST_PATTERN = r"^$|^(sha256:)?[0-9a-f]{12,64}$"
LANGUAGE_PATTERN = r"^$|^[a-z]{2,3}$"
EGRESS_PATTERN = r"^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[1-9][0-9]{0,4})?$"

MOST_GATES: Final = 24
"""How many gates a matrix may make."""

_AXIS = re.compile(r"[a-z][a-z0-9_]*")
_UNIT_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_UNIT_BYTES = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ALLOWED_URL = re.compile(r"^(https|ssh|file)://[^-\s]")
_SCP_LIKE = re.compile(r"^([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*:[^:-]")


def wrong(what: str, remedy: str) -> PydanticCustomError:
    """A problem, in the words shown to the person."""
    return PydanticCustomError("airboss", "{what}", {"what": what, "remedy": remedy})


def duration_us(text: str) -> int:
    """Microseconds in ``90s``, ``10m``, ``1h`` or ``14d`` (already validated)."""
    return int(text[:-1]) * _UNIT_US[text[-1]]


def size_bytes(text: str) -> int:
    """Bytes in ``500M``, ``4G`` or ``1T`` (already validated text); 0 for none."""
    return int(text[:-1]) * _UNIT_BYTES[text[-1]] if text else 0


def overlapping(paths: list[str]) -> tuple[str, str] | None:
    """Two of these paths of which one is, or is inside, the other. Case is ignored, as some file systems do."""
    ordered = sorted(paths, key=lambda path: (path.lower().split("/"), path))
    for outer, inner in itertools.pairwise(ordered):
        if f"{inner.lower()}/".startswith(f"{outer.lower()}/"):
            return outer, inner
    return None


def _argv(argv: list[str]) -> list[str]:
    if not argv or not argv[0]:
        raise wrong("is empty", 'give the program and its arguments, for example ["python3", "-m", "pytest"]')
    if argv[0].startswith("-"):
        raise wrong(f"starts with an option ({argv[0]!r})", "the first item is the program")
    return argv


def _steps(steps: list[list[str]]) -> list[list[str]]:
    if not steps:
        raise wrong("is empty", 'give a program and its arguments, for example ["uv", "sync", "--frozen"]')
    return [_argv(step) for step in steps]


def _as_steps(value: Any) -> Any:
    """One command as a list of one."""
    single = isinstance(value, list) and bool(value) and not any(isinstance(item, list) for item in value)
    return [value] if single else value


def _provided(path: str) -> str:
    parts = path.removesuffix("/").split("/")
    if any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts):
        raise wrong(f"is not a path inside the tree ({path!r})", 'write its path, for example ".venv"')
    return "/".join(parts)


def port_range(text: str) -> range:
    """The ports of ``20000-27999``, the last one included."""
    first, last = map(int, text.split("-"))
    return range(first, last + 1)


def _ports(text: str) -> str:
    ports = port_range(text)
    if ports.start < 1024 or ports.stop > 65536 or len(ports) < PORTS_OF_A_TASK:
        raise wrong(f"is not a range of ports ({text})", 'write the first and the last, for example "20000-27999"')
    return text


def _with_only(placeholder: str, where: str) -> Callable[[list[str]], list[str]]:
    """Checks an argv whose only placeholder is this one; ``where`` is the place for other braces."""

    return lambda argv: check_placeholders(_argv(argv), (placeholder,), where)


def check_placeholders(argv: list[str], known: Sequence[str], where: str) -> list[str]:
    """The argv. Raises for a placeholder that is not ``known``; ``where`` is the place for other braces."""
    only = " is the only one" if len(known) == 1 else " are the only ones"
    for item in argv:
        for found in _PLACEHOLDER.findall(item):
            if found not in known:
                raise wrong(
                    f"has the unknown placeholder {{{found}}}",
                    f"{', '.join(f'{{{name}}}' for name in known)}{only}; put other braces into {where}",
                )
    return argv


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with the values of its placeholders; others stay."""
    return _PLACEHOLDER.sub(lambda found: values.get(found.group(1), found.group()), text)


def _matrix(axes: dict[str, list[str]]) -> dict[str, list[str]]:
    for axis, values in axes.items():
        if axis == "junit" or not _AXIS.fullmatch(axis):
            raise wrong(f"has the axis {axis!r}", "use lower-case letters, digits and underscore, but not junit")
        if not values or len(set(values)) < len(values):
            raise wrong(f"has no value for {axis}, or one of them twice", "list each value once")
    if math.prod(map(len, axes.values())) > MOST_GATES:
        raise wrong(f"makes more than {MOST_GATES} gates", "leave out some values")
    return axes


def _url(url: str) -> str:
    if not url or url.startswith("-") or any(ch < " " for ch in url):
        raise wrong(f"is not a repository address ({url!r})", "give a path, or an ssh:// or https:// URL")
    if re.match(r"^[a-z+]+://[^/@]*:[^/@]*@", url):
        raise wrong("contains a password", "remove it: use an SSH key, or ~/.netrc of the controller's login")
    if "::" in url or ("://" in url and not _ALLOWED_URL.match(url)):
        raise wrong("uses a transport that could run commands or is not encrypted", "use ssh, https or a path")
    if "://" not in url and not url.startswith(("/", "~", ".")) and ":" in url and not _SCP_LIKE.match(url):
        raise wrong(f"is not a repository address ({url!r})", "give a path, or an ssh:// or https:// URL")
    return url


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or any(ch <= " " for ch in url):
        raise wrong(f"is not the address of an endpoint ({url!r})", 'for example "http://127.0.0.1:11434/v1"')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise wrong("contains more than an address", "name the variable of .env with the key in `key`")
    return url.rstrip("/")


def _branch(name: str) -> str:
    if not is_branch_name(name):
        raise wrong(f"is not a branch name ({name!r})", 'write the short name, for example "main"')
    return name


def _patterns(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        if not pattern.strip() or pattern.startswith("#") or "\n" in pattern or "\0" in pattern:
            raise wrong(f"contains the empty pattern {pattern!r}", 'write gitignore patterns, such as "tests/**"')
    return patterns


def _protection(patterns: list[str]) -> list[str]:
    for pattern in _patterns(patterns):
        if pattern.startswith("!"):
            raise wrong(f"removes protection ({pattern!r})", "list what is protected, without exceptions")
    return patterns


def _lock_patterns(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        try:
            Glob.parse(pattern)
            if (why := unmeant(pattern)).startswith("braces"):
                raise Misused(attempted="read a path to lock", on=pattern, cause=why)
        except Misused as error:
            raise wrong(
                f"has the pattern {pattern!r}: {error.cause}", 'write patterns such as "src/api/**"'
            ) from error
    return patterns


def _person_id(text: str) -> str:
    try:
        person = PersonId.parse(text)
    except ValueError:
        person = PersonId("", "", "")
    if not person.platform or not person.user:
        raise wrong(
            f"is not an id ({text!r})",
            'write "platform:workspace:user", for example "slack:T024BE7LD:U02JPF3AB" or "telegram::12345"',
        )
    return text


def _as_list(value: Any) -> Any:
    """A single name as a list of one; an empty one as none."""
    return ([value] if value else []) if isinstance(value, str) else value


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=64)]
Label = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, max_length=64)]
Need = Annotated[str, StringConstraints(pattern=NEED_PATTERN, max_length=64)]
ModelName = Annotated[str, StringConstraints(max_length=200, pattern=MODEL_PATTERN)]
Login = Annotated[str, StringConstraints(pattern=LOGIN_PATTERN, max_length=64)]
Logins = Annotated[
    list[Annotated[Login, StringConstraints(min_length=1)]],
    BeforeValidator(_as_list, json_schema_input_type=Login | list[Login]),
]
Variable = Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN, max_length=200)]
Duration = Annotated[str, StringConstraints(pattern=DURATION_PATTERN)]
LongDuration = Annotated[str, StringConstraints(pattern=LONG_DURATION_PATTERN)]
Size = Annotated[str, StringConstraints(pattern=SIZE_PATTERN)]
Directory = Annotated[str, StringConstraints(pattern=DIRECTORY_PATTERN)]
InHome = Annotated[str, StringConstraints(pattern=IN_HOME_PATTERN, max_length=1024)]
Program = Annotated[list[str], AfterValidator(_argv)]
GateArgv = Annotated[list[str], AfterValidator(_argv)]
"""Its placeholders are checked with the gate's matrix."""

Matrix = Annotated[dict[str, list[Name]], AfterValidator(_matrix)]
SpeechArgv = Annotated[list[str], AfterValidator(_with_only("audio", "a script"))]
Steps = Annotated[
    list[list[str]],
    BeforeValidator(_as_steps, json_schema_input_type=list[str] | list[list[str]]),
    AfterValidator(_steps),
]
Patterns = Annotated[list[str], AfterValidator(_patterns)]
Provided = Annotated[str, StringConstraints(pattern=PROVIDED_PATTERN, max_length=512), AfterValidator(_provided)]
Ports = Annotated[str, StringConstraints(pattern=PORTS_PATTERN), AfterValidator(_ports)]
Protection = Annotated[list[str], AfterValidator(_protection)]
LockPatterns = Annotated[list[str], AfterValidator(_lock_patterns)]
Id = Annotated[str, AfterValidator(_person_id)]
GitUrl = Annotated[str, AfterValidator(_url)]
Branch = Annotated[str, AfterValidator(_branch)]
EgressHost = Annotated[
    str,
    StringConstraints(
        pattern=EGRESS_PATTERN,
        max_length=253,
    ),
]
"""A host's name in lower case, `*.` for all below it; with a port unless it is the usual one."""

EndpointUrl = Annotated[str, AfterValidator(_endpoint)]
