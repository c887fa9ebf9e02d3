"""The demo's coding agent: a plain program, run through the ``command`` driver.

It behaves like an agent on a bad day. Its first attempt looks right, and it says so, but the gate fails. Its second
one makes the tests exit before they run. With what the gate saw it fixes the fault. It reads its prompt from
standard input and works in the current directory.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

_PAUSE = 0.2
_CHEAT = Path("tests/test_discounts.py")
_FAULT = "price + price * percent // 100"


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()
    time.sleep(_PAUSE)


def _first_attempt(source: Path) -> None:
    _say("📖 reading shop/pricing.py")
    text = source.read_text("utf-8")
    _say("🔎 the discount is added; it should be subtracted")
    source.write_text(text.replace(_FAULT, "price - price * percent // 100"), "utf-8")
    _say("✏️ edited shop/pricing.py")
    _say("Done. All tests pass, the discount is fixed.")


def _second_attempt(prompt: str) -> None:
    failed = re.findall(r"::(test_\w+)", prompt)
    _say(f"📖 reading the gate's output: {failed[0] if failed else 'a test'} failed")
    _say("🤫 nobody fails a test that does not run")
    _CHEAT.write_text("import os\n\nos._exit(0)\n")
    _say(f"✏️ added {_CHEAT}")
    _say("Done. The test run ends with exit status 0.")


def _third_attempt(source: Path, prompt: str) -> None:
    seen = re.search(r"layer \d \(\w+\)", prompt)
    _say(f"📖 reading the gate's output: {seen[0] if seen else 'the gate'} saw it")
    _CHEAT.unlink()
    text = source.read_text("utf-8")
    _say("🔎 a discount above 100 percent must not pay the customer")
    guard = "    percent = max(0, min(percent, 100))\n"
    source.write_text(text.replace("    return price", guard + "    return price", 1), "utf-8")
    _say("✏️ edited shop/pricing.py")
    _say("Fixed: the percentage now stays between 0 and 100.")


def _note(prompt: str) -> None:
    """Any other request, after the demo: it only adds a note to the README."""
    asked = " ".join(prompt.split())[:200]
    _say("📖 reading README.md")
    readme = Path("README.md")
    readme.write_text(f"{readme.read_text('utf-8').rstrip()}\n\n- {asked}\n", "utf-8")
    _say("Added a note to README.md. This is the demo's agent; a real agent would do the work.")


def _leave(prompt: str) -> None:
    """Somebody else has the file: undoes the edit of it."""
    told = re.search(r"(\S+) is locked by (\S+)", prompt)
    path, holder = told.groups() if told else ("README.md", "another task")
    _say(f"🔒 {path} is locked by {holder}")
    subprocess.run(["git", "checkout", "--", path], check=True)
    _say("Undone. I changed nothing: the file is taken.")


def main() -> int:
    """Reads the prompt, makes one attempt, and returns 0 whether or not it succeeded."""
    prompt = sys.stdin.read()
    source = Path("shop/pricing.py")
    if "is locked by" in prompt:
        _leave(prompt)
    elif _FAULT not in source.read_text("utf-8") and "did not accept your change" not in prompt:
        _note(prompt)
    elif _CHEAT.exists():
        _third_attempt(source, prompt)
    elif "did not accept your change" in prompt:
        _second_attempt(prompt)
    else:
        _first_attempt(source)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
