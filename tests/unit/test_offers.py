"""What machines offer and tasks need: versions compare as numbers, and a need says what a machine has instead."""

from __future__ import annotations

import pytest

from fleet.errors import Misused
from fleet.offers import LabelNeed, lacking, passes, version_in

MAC = {"macos": "26.1", "xcode": "26.1.1", "fast": "", "disk": "81920M", "claude": "2.1.197", "cpus": "8"}


@pytest.mark.parametrize(
    ("need", "why"),
    [
        ("macos", ""),
        ("fast", ""),
        ("xcode>=26", ""),
        ("xcode=26", ""),
        ("xcode<=26", ""),
        ("xcode>=26.1.1.0", ""),
        ("claude>=2.1.9", ""),
        ("disk>=80G", ""),
        ("disk>=1T", "disk>=1T (it has 81920M)"),
        ("xcode>26", "xcode>26 (it has 26.1.1)"),
        ("xcode<26", "xcode<26 (it has 26.1.1)"),
        ("xcode>=26.2", "xcode>=26.2 (it has 26.1.1)"),
        ("xcode>=100", "xcode>=100 (it has 26.1.1)"),
        ("claude>=2.10", "claude>=2.10 (it has 2.1.197)"),
        ("fast>=2", "fast>=2 (its version is not known)"),
        ("xcode>=4G", "xcode>=4G (its version is not known)"),
        ("disk>=80", "disk>=80 (its version is not known)"),
        ("linux", "linux"),
    ],
)
def test_a_need_is_met_or_says_what_is_missing(need: str, why: str) -> None:
    assert LabelNeed.parse(need).lacking(MAC) == why


@pytest.mark.parametrize("written", ["xcode", "xcode>=26", "disk>=20G", "a.b-c_d<1.2.3"])
def test_a_need_reads_as_it_was_written(written: str) -> None:
    assert str(LabelNeed.parse(written)) == written


def test_a_phone_writes_the_signs_as_one_letter_and_units_small() -> None:
    assert str(LabelNeed.parse("Xcode≥26")) == "xcode>=26"
    assert str(LabelNeed.parse("disk>=20g")) == "disk>=20G"


@pytest.mark.parametrize(
    "written",
    ["", ">=26", "xcode>=", "xcode>=26.", "xcode>=x", "xcode==26", "xcode >= 26", "a\nb", "x" + ">=1" * 9],
)
def test_what_is_no_need_is_refused_with_the_remedy(written: str) -> None:
    with pytest.raises(Misused, match="label") as refused:
        LabelNeed.parse(written)
    assert "xcode>=26" in refused.value.hint


def test_only_a_disk_may_have_more_room_later() -> None:
    assert passes(["macos", "disk>=1T"], MAC)
    assert not passes(["linux", "disk>=1T"], MAC)
    assert not passes(["disk>=1T"], {})
    assert lacking(["macos", "linux", "disk>=1T"], MAC) == ["linux", "disk>=1T (it has 81920M)"]


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("2.1.197 (Claude Code)", "2.1.197"),
        ("codex-cli 0.169.0", "0.169.0"),
        ("Xcode 26.1\nBuild", "26.1"),
        ("?", ""),
    ],
)
def test_a_program_says_its_version(said: str, version: str) -> None:
    assert version_in(said) == version
