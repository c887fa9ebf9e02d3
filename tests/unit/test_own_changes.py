"""Who may release or override a change that they asked for themselves."""

from __future__ import annotations

import pytest

from fleet.config import FleetConfig, parse_fleet
from fleet.errors import Refused
from fleet.model import PersonId
from gates.people import OwnChange, Right, demand_not_own, own_change, who

ADA, ADA_PHONE, BOB = PersonId("slack", "T1", "U1"), PersonId("telegram", "", "7"), PersonId("slack", "T1", "U2")


def fleet(admins: int, setting: str = "") -> FleetConfig:
    people = '[[people]]\nname = "Ada"\nrole = "admin"\nids = ["slack:T1:U1", "telegram::7"]\n'
    people += f'[[people]]\nname = "Bob"\nrole = "{"admin" if admins > 1 else "operator"}"\nids = ["slack:T1:U2"]\n'
    return parse_fleet(f'isolation = "unsafe-same-user"\n{setting}\n{people}', "fleet.toml")


def asks(config: FleetConfig, decider: PersonId, requester: PersonId) -> OwnChange:
    person = who(config, decider)
    assert person is not None
    return own_change(config, Right.RELEASE, person, str(requester))


@pytest.mark.parametrize("requester", [ADA, ADA_PHONE])
def test_one_admin_may_and_it_is_marked(requester: PersonId) -> None:
    assert asks(fleet(1), ADA, requester) is OwnChange.ALLOWED
    assert asks(fleet(1), ADA, BOB) is OwnChange.NO


@pytest.mark.parametrize("requester", [ADA, ADA_PHONE])
def test_the_default_turns_with_the_second_admin_whichever_account_asked(requester: PersonId) -> None:
    assert asks(fleet(2), ADA, requester) is OwnChange.FORBIDDEN
    assert asks(fleet(2), BOB, requester) is OwnChange.NO
    person = who(fleet(2), ADA)
    assert person is not None
    with pytest.raises(Refused, match="your own change") as refused:
        demand_not_own(fleet(2), Right.RELEASE, person, str(requester), attempted="release a1")
    assert "Bob" in refused.value.hint


def test_what_is_written_wins() -> None:
    assert asks(fleet(2, "self_approval = true"), ADA, ADA) is OwnChange.ALLOWED
    assert asks(fleet(1, "self_approval = false"), ADA, ADA) is OwnChange.FORBIDDEN


def test_a_requester_that_is_nobody_is_nobodys_own() -> None:
    person = who(fleet(1), ADA)
    assert person is not None
    assert own_change(fleet(1), Right.RELEASE, person, "airboss") is OwnChange.NO
    assert fleet(1).is_same_person("slack:T1:U1", "telegram::7")
    assert not fleet(1).is_same_person("slack:T1:U1", "slack:T1:U2")
