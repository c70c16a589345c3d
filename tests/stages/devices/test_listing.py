"""The devices of a service, as people are shown them."""

from math import inf

import pytest

import trioedge as te
from trioedge.services.device_rules import DeviceRules
from trioedge.stages.devices.answers import Admission, DeviceEntry
from trioedge.stages.devices.grace import Grace
from trioedge.stages.devices.listing import listed
from trioedge.stages.devices.records import DeviceRecord, ServiceRecord
from trioedge.testing import make_session

DENIED = DeviceEntry(Admission.DENIED, detail="stolen")
RULES = DeviceRules(unchecked=te.Unchecked.STALE_FOR, stale_seconds=50)


def owner_of(fresh_until: float, refusal: DeviceEntry | None = None) -> ServiceRecord:
    owner = ServiceRecord(make_session().service, Grace())
    device = owner.devices["phone"] = DeviceRecord(owner, "phone", fresh_until)
    device.refusal = refusal
    return owner


@pytest.mark.parametrize(
    ("fresh_until", "refusal", "state", "until", "detail"),
    [
        (130.0, None, "fresh", 30.0, ""),
        (inf, None, "fresh", None, ""),
        (90.0, None, "stale", 40.0, ""),
        (40.0, None, "unknown", None, ""),
        (-inf, None, "unknown", None, ""),
        (130.0, DENIED, "denied", 30.0, "stolen"),
        (90.0, DENIED, "denied", 40.0, "stolen"),
    ],
)
def test_a_device_has_a_state_and_the_end_of_it(
    fresh_until: float, refusal: DeviceEntry | None, state: str, until: float | None, detail: str
) -> None:
    (facts,) = listed(owner_of(fresh_until, refusal), 100.0, RULES)
    assert (facts.device, facts.state, facts.until, facts.detail) == ("phone", state, until, detail)
    assert (facts.sessions, facts.since) == (0, None)


def test_a_device_in_its_grace_is_unknown_until_that_is_over() -> None:
    owner = owner_of(-inf)
    owner.devices["phone"].begin_grace(100.0)
    (facts,) = listed(owner, 103.0, RULES)
    assert (facts.state, facts.detail, facts.until) == ("unknown", "in grace", Grace().seconds - 3)


def test_its_oldest_session_says_since_when_it_is_online() -> None:
    owner, session = owner_of(130.0), make_session()
    owner.devices["phone"].sessions = {session: None, make_session(): None}
    (facts,) = listed(owner, session.started_at + 7, RULES)
    assert (facts.sessions, facts.since) == (2, 7.0)


def test_a_device_that_is_forgotten_meanwhile_is_left_out() -> None:
    owner = owner_of(130.0)
    owner.devices["watch"] = DeviceRecord(owner, "watch", 130.0)
    listing = listed(owner, 100.0, RULES)
    next(listing)
    del owner.devices["watch"]
    assert [*listing] == []
    assert [*listed(None, 100.0, RULES)] == []
