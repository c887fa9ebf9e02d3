"""Prepares a bare machine for `make demo` and `make test`. Standard library only, any Python 3.

    python3 deploy/bootstrap.py           .venv with everything that requirements.lock names, and Airboss itself
    python3 deploy/bootstrap.py agents    the pinned agents from package-lock.json, into .cache/agents
    python3 deploy/bootstrap.py browser   .venv, and Chromium for the gallery of cards
    python3 deploy/bootstrap.py tests     all of these, and OpenSSH, zsh and cron for the tests' machines
    python3 deploy/bootstrap.py torture   and sudo, and the large agents, 180 MB, into .cache/large-agents

Each step leaves a stamp keyed by what it installed from, so a second run costs nothing. The machine chooses its
registries: whatever pip, uv and npm are configured to use. Output goes to .cache/bootstrap.log; its end is
shown when something fails. Exit status: 0 ready, 3 something is missing (the message says what).
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
LOG = CACHE / "bootstrap.log"
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
AGENTS = CACHE / "agents"
LARGE_AGENTS = CACHE / "large-agents"
OLDEST = (3, 11)
NEWEST_MINOR = 14
NODE_MAJOR = 18
# Packages of which a start imports little or nothing: compiling them would take longer than it saves.
NOT_AT_START = r"/(tests|mypy|mypyc|pip|setuptools|pkg_resources|pygments|hatchling)/"


class Missing(Exception):
    """This machine lacks something that we may not or could not install; the message says what to do."""


def say(line: str) -> None:
    sys.stderr.write(f"airboss: {line}\n")
    sys.stderr.flush()


def run(argv, env=None, cwd=ROOT):
    """Runs a command with its output in the log. Returns whether it succeeded; false for a missing program."""
    with LOG.open("ab") as log:
        log.write(("\n$ " + " ".join(map(str, argv)) + "\n").encode())
        log.flush()
        try:
            done = subprocess.run(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=str(cwd),
                check=False,
            )
        except OSError as error:
            log.write(f"{error}\n".encode())
            return False
    return done.returncode == 0


def answer(argv):
    """Returns what a command prints, or an empty string when it fails."""
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def fingerprint(*parts):
    """A stamp's content: files by their bytes, everything else by its text."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def stamped(stamp, expected):
    try:
        return stamp.read_text().strip() == expected
    except OSError:
        return False


def apt(*packages):
    """Installs system packages where no one has to be asked. Returns whether it did."""
    if not shutil.which("apt-get"):
        return False
    if os.geteuid() == 0:
        prefix = []
    elif shutil.which("sudo") and run(["sudo", "-n", "true"]):
        prefix = ["sudo", "-n"]
    else:
        return False
    say("installing with apt: " + " ".join(packages))
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    install = [*command, "install", "-y", "--no-install-recommends", *packages]
    return run(install) or (run([*command, "update"]) and run(install))


def find_python():
    """Returns the command of a Python that is new enough: this one, else one on PATH or under pyenv."""
    if sys.version_info >= OLDEST:
        return sys.executable
    names = [f"python3.{minor}" for minor in range(OLDEST[1], NEWEST_MINOR + 1)]
    on_path = [found for found in map(shutil.which, names) if found]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = on_path + [str(path) for path in sorted(pyenv.glob("3.*/bin/python3"))]
    for candidate in candidates:
        version = answer([candidate, "-c", "import sys; print(*sys.version_info[:2])"]).split()
        if len(version) == 2 and (int(version[0]), int(version[1])) >= OLDEST:
            return candidate
    raise Missing(
        f"Airboss needs Python 3.11 or later; python3 here is {platform.python_version()}. "
        "Install one (Debian 12 or later: `apt-get install python3 python3-venv`; macOS: `brew install python`)."
    )


def make_venv(python):
    """Makes .venv, with pip in it, or without where only uv could make it."""
    if run([python, "-m", "venv", "--clear", VENV]):
        return
    shutil.rmtree(str(VENV), ignore_errors=True)
    uv = shutil.which("uv")
    if uv and run([uv, "venv", "--no-python-downloads", "--python", python, VENV]):
        return
    version = answer([python, "-c", "import sys; print('python%d.%d' % sys.version_info[:2])"])
    if apt(f"{version}-venv") or apt("python3-venv"):
        shutil.rmtree(str(VENV), ignore_errors=True)
        if run([python, "-m", "venv", "--clear", VENV]):
            return
    raise Missing(
        f"{python} cannot make a virtual environment (on Debian and Ubuntu venv is a separate package). "
        f"Install it and run this again: apt-get install {version}-venv"
    )


def uv_settings(pip_config):
    """uv does not read pip's configuration; this passes it on, unless uv has its own.

    Mixing indexes is safe here, and only here: every file is checked against the hash in the lock.
    """
    settings = {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_INDEX_STRATEGY": "unsafe-best-match"}
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
        "cert": "SSL_CERT_FILE",
    }
    for line in pip_config.splitlines():
        found = re.match(r"(?:global|install|:env:)\.([a-z-]+)='(.*)'$", line)
        if not found or found.group(1) not in names:
            continue
        words = re.sub(r"\\n", " ", found.group(2)).split()
        settings[names[found.group(1)]] = ("," if found.group(1) == "find-links" else " ").join(words)
    return {name: value for name, value in settings.items() if name not in os.environ}


def only(lock, package):
    """The lines of a hashed requirements file that pin one package."""
    found = re.search(rf"^{package}==.*?(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL)
    if not found:
        raise Missing(f"requirements.lock does not pin {package}; update it with `make lock`.")
    return found.group(0)


def install_uv(python):
    """uv from the package index, at the pinned version, into .venv. Returns its path, or "" without it."""
    uv = VENV / "bin" / "uv"
    wanted = CACHE / "uv.requirements.txt"
    wanted.write_text(only(LOCK.read_text(), "uv"))
    if (VENV / "bin" / "pip").exists():
        done = run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", wanted])
        return str(uv) if done and uv.exists() else ""
    return shutil.which("uv") or ""


def install_packages(python):
    """Installs everything in the lock, checked against its hashes, then this checkout itself."""
    uv = install_uv(python)
    if uv:
        env = {**uv_settings(answer([python, "-m", "pip", "config", "list"])), "VIRTUAL_ENV": str(VENV)}
        install = [uv, "pip", "install", "--python", python]
        if run([*install, "--require-hashes", "-r", LOCK], env) and run(
            [*install, "--no-deps", "--no-build-isolation", "--editable", ROOT], env
        ):
            return
        say("uv could not install the packages; trying pip")
    install = [python, "-m", "pip", "install", "--quiet"]
    if run([*install, "--require-hashes", "-r", LOCK]) and run(
        [*install, "--no-deps", "--no-build-isolation", "--editable", ROOT]
    ):
        return
    raise Missing("the Python packages of requirements.lock could not be installed; is a package index reachable?")


def compile_python(python, *places):
    """Compiles what each start imports. Otherwise a controller that may not write here would compile it at each
    start, and so would everyone with PYTHONDONTWRITEBYTECODE set, as in most container images."""
    run([python, "-m", "compileall", "-q", "-j", "0", "-x", NOT_AT_START, *places])


def venv():
    """Makes .venv with the locked packages and the `airboss` command, ready to start."""
    python = VENV / "bin" / "python3"
    make_ready(python)
    compile_python(python, *(ROOT / name for name in ("bot", "fleet", "gates")))
    keep_classes(python)


def keep_classes(python):
    """Keeps what else a start would compile each time (fleet/kept_classes.py), also for who may not write here."""
    for load in (
        "bot.local import loading; loading.load_controller()",
        "bot.local import gate_try; gate_try.load_judge()",
    ):
        run([python, "-c", f"import sys; sys.dont_write_bytecode = False; from {load}"])


def make_ready(python):
    """Makes .venv, unless it is what it should be."""
    stamp, home = VENV / ".airboss-stamp", VENV / ".airboss-home"
    expected = fingerprint(LOCK, ROOT / "pyproject.toml")
    works = bool(answer([python, "-c", "print(1)"]))
    moved = home.exists() and not stamped(home, str(ROOT))  # its scripts name the old path
    if works and not moved and stamped(stamp, expected):
        return
    started = time.monotonic()
    if not works or moved:
        chosen = find_python()
        say(f"making .venv with {answer([chosen, '--version'])}")
        make_venv(chosen)
    say("installing the packages of requirements.lock, each checked against its hash")
    install_packages(python)
    compile_python(python, answer([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]))
    home.write_text(str(ROOT))
    stamp.write_text(expected)
    say(f"ready: .venv/bin/airboss ({time.monotonic() - started:.0f} s)")


def node_is_new_enough():
    found = re.match(r"v(\d+)\.", answer(["node", "--version"]))
    return bool(found) and int(found.group(1)) >= NODE_MAJOR and bool(answer(["npm", "--version"]))


def agents():
    """Installs the agents that the tests drive, exactly as package-lock.json pins them."""
    pinned(ROOT, AGENTS, (".bin/claude", ".bin/codex"))


def large_agents():
    """Installs the agents that only `make torture` drives, where npm has them."""
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        pinned(ROOT / "tests" / "far_end" / "large", LARGE_AGENTS, ("opencode-linux-x64/bin/opencode",))


def pinned(source, place, programs):
    manifest, lock = source / "package.json", source / "package-lock.json"
    stamp = place / ".airboss-stamp"
    expected = fingerprint(manifest, lock)
    if stamped(stamp, expected):
        return
    if not node_is_new_enough():
        apt("nodejs", "npm")
    if not node_is_new_enough():
        raise Missing(
            f"the tests drive real agents, which come from npm: install Node.js {NODE_MAJOR} or later with npm "
            "(Debian and Ubuntu: apt-get install nodejs npm)."
        )
    say(f"installing the pinned agents with npm ({', '.join(Path(name).name for name in programs)})")
    place.mkdir(parents=True, exist_ok=True)
    for file in (manifest, lock):
        shutil.copy(str(file), str(place / file.name))
    if not run(["npm", "ci", "--no-audit", "--no-fund", "--no-progress"], cwd=place):
        raise Missing(f"npm could not install the agents of {lock}; is a registry reachable?")
    for name in programs:
        program = place / "node_modules" / name
        if not answer([program, "--version"]):
            raise Missing(f"npm installed {name}, but `{program} --version` fails on this machine.")
    stamp.write_text(expected)


def openssh():
    """Installs sshd, ssh and ssh-keygen: the tests use real SSH machines."""
    where = os.environ.get("PATH", "") + os.pathsep + os.pathsep.join(["/usr/sbin", "/usr/local/sbin"])

    def missing():
        return [name for name in ("sshd", "ssh", "ssh-keygen") if not shutil.which(name, path=where)]

    if missing():
        apt("openssh-server", "openssh-client")
    if missing():
        raise Missing(
            f"the tests need {', '.join(missing())}: install OpenSSH "
            "(Debian and Ubuntu: apt-get install openssh-server openssh-client)."
        )


def shells_and_cron():
    """Installs another shell and cron where no one has to be asked: some tests try them too, else only the others.
    It is tried once."""
    wanted = {"zsh": "zsh", "crontab": "cron"}
    missing = [package for program, package in wanted.items() if not shutil.which(program)]
    tried = CACHE / "shells-and-cron.tried"
    if missing and not tried.exists():
        tried.write_text(" ".join(missing))
        apt(*missing)


def sudo():
    """Installs sudo: somebody who follows the README uses it."""
    if not shutil.which("sudo"):
        apt("sudo")
    if not shutil.which("sudo"):
        raise Missing("the README's first fleet is typed with sudo: install it (Debian: apt-get install sudo).")


def browser():
    """Installs Chromium, with fonts for every sign on a card: the gallery needs a real browser."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    applications = ("Google Chrome.app", "Chromium.app")

    def missing():
        chosen = os.environ.get("AIRBOSS_BROWSER")
        if chosen:
            return not shutil.which(chosen)
        on_mac = any((Path("/Applications") / name).exists() for name in applications)
        return not on_mac and not any(map(shutil.which, names))

    if missing():
        apt("chromium", "fonts-dejavu-core", "fonts-liberation2", "fonts-noto-color-emoji")
    if missing():
        raise Missing(
            "the tests draw cards in Chromium: install it (Debian: apt-get install chromium "
            "fonts-noto-color-emoji), or name a Chrome with AIRBOSS_BROWSER."
        )


def git():
    if not answer(["git", "--version"]):
        raise Missing("Airboss needs git (Debian and Ubuntu: apt-get install git; macOS: xcode-select --install).")


STEPS = {
    "": (git, venv),
    "agents": (agents,),
    "browser": (git, venv, browser),
    "tests": (git, openssh, shells_and_cron, browser, venv, agents),
    "torture": (git, openssh, sudo, shells_and_cron, browser, venv, agents, large_agents),
}


def main(words):
    wanted = words[0] if words else ""
    if wanted not in STEPS or len(words) > 1:
        say("usage: bootstrap.py [" + " | ".join(filter(None, STEPS)) + "]")
        return 2
    CACHE.mkdir(exist_ok=True)
    LOG.write_bytes(b"")
    try:
        for step in STEPS[wanted]:
            step()
    except Missing as missing:
        tail = LOG.read_bytes().decode(errors="replace").splitlines()[-15:]
        for line in tail:
            sys.stderr.write(f"    {line}\n")
        say(str(missing))
        say(f"the whole log: {LOG.relative_to(ROOT)}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
