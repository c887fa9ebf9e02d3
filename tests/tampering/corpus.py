"""Attempts to talk past a gate, and honest changes, over one small repository.

The data are in ``attempts.toml``, ``honest.toml`` and ``edits.toml``.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scenarios.gate_house import Files

HERE = Path(__file__).parent
CART = """import json


def total(prices):
    return sum(prices)


def parse(text):
    return json.loads(text)


def discount(total, percent):
    return total - percent
"""
FIXED = CART.replace("total - percent", "total - total * percent // 100")
BASE: Files = {
    "airboss.toml": f"[gates.tests]\nrun = ['{sys.executable}', '-m', 'pytest', '-q', '-p', 'no:cacheprovider']\n",
    "shop/__init__.py": "",
    "shop/cart.py": CART,
    "shop/words.py": "def title(text):\n    return text.title()\n",
    "shop/prices.py": "def share(total, percent):\n    return total * percent // 100\n",
    "tests/test_cart.py": """import unittest

from shop.cart import discount, parse, total


def test_total():
    assert total([1, 2]) == 3


def test_discount():
    assert discount(200, 10) == 180


class TestParse(unittest.TestCase):
    def test_parse(self):
        self.assertEqual(parse("[1]"), [1])
""",
    "tests/test_prices.py": """from shop.cart import discount
from shop.prices import share


def test_share():
    assert share(200, 10) == 20


def test_rest():
    assert discount(100, 25) == 75
""",
    "tests/test_words.py": """from shop.words import title


def test_title():
    assert title("a b") == "A B"
""",
}


@dataclass(frozen=True)
class Change:
    """One change to the base, which has the files in ``base`` too. ``held``: a person should see it, although it is
    honest."""

    name: str
    honest: bool
    files: Files
    remove: tuple[str, ...] = ()
    held: bool = False
    base: Files = field(default_factory=dict)
    source: str = field(default="", compare=False)


def attempts() -> list[Change]:
    """What must never pass."""
    return [_change(entry, CART, honest=False) for entry in _entries("attempts.toml", "attempt")]


def honest() -> list[Change]:
    """What must never fail."""
    return [_change(entry, FIXED, honest=True) for entry in _entries("honest.toml", "change")]


def edits() -> list[Change]:
    """What changes a protected file honestly: it is held by rule, and must never fail."""
    return [_change({**entry, "held": True}, FIXED, honest=True) for entry in _entries("edits.toml", "change")]


def _entries(file: str, key: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = tomllib.loads((HERE / file).read_text())[key]
    return entries


def _change(entry: dict[str, Any], cart: str, *, honest: bool) -> Change:
    files: Files = dict(entry.get("files", {}))
    top, end = entry.get("top", ""), entry.get("end", "")
    if top or end or honest:
        files.setdefault("shop/cart.py", f"{top}{cart}\n\n{end}")
    remove = tuple(path for path in entry.get("remove", ()) if path not in files)
    base: Files = {path: text.replace("{python}", sys.executable) for path, text in entry.get("base", {}).items()}
    return Change(
        entry["name"],
        honest,
        files,
        remove,
        held=entry.get("held", False),
        base=base,
        source=entry.get("source", ""),
    )
