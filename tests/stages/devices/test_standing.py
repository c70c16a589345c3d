"""The verdict on a device, as the table has it."""

import pytest

from tests.support.devices import make_service
from trioedge.services.device_rules import DeviceRules, Unchecked
from trioedge.stages.devices.grace import Grace
from trioedge.stages.devices.standing import NOTHING_KNOWN, DeviceStanding, refresh, standing
from trioedge.stages.devices.table import DeviceTable
from trioedge.testing import make_session

RULES = DeviceRules(unchecked=Unchecked.STALE_FOR, stale_seconds=100)


@pytest.mark.parametrize("accept", [True, False])
def test_a_verdict_is_fresh_then_stale_then_none(accept: bool) -> None:
    table, service = DeviceTable(Grace(seconds=5)), make_service()
    table.answer(service, "a", accept, 10, 0, "why")
    detail = "" if accept else "why"
    for now, expected in [
        (0, DeviceStanding(accept, 10, detail)),
        (9, DeviceStanding(accept, 1, detail)),
        (11, DeviceStanding(accept, 0, detail)),
        (111, NOTHING_KNOWN),
    ]:
        assert standing(table.memory, service, "a", now, RULES) == expected
    assert standing(table.memory, service, "b", 0, RULES) == NOTHING_KNOWN


def test_a_device_in_its_grace_has_no_verdict() -> None:
    table, service = DeviceTable(Grace(seconds=5)), make_service()
    assert table.enter(service, "a", make_session(), 0, RULES).check
    assert standing(table.memory, service, "a", 1, RULES) == NOTHING_KNOWN
    assert not refresh(table.memory, service, "a", 1, RULES), "it is being checked"


def test_only_a_stale_verdict_is_refreshed_and_once() -> None:
    table, service = DeviceTable(Grace(seconds=5)), make_service()
    table.answer(service, "a", False, 10, 0)
    assert [refresh(table.memory, service, "a", now, RULES) for now in (9, 11, 12)] == [False, True, False]
    assert not refresh(table.memory, service, "b", 11, RULES)
