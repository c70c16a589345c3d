"""Answers applied to the bans, against a model: a dict of decisions."""

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trioedge_crowdsec import update as module
from trioedge_crowdsec.bans import Bans
from trioedge_crowdsec.decisions import Ignored, read_network
from trioedge_crowdsec.update import Update

VALUES = ["192.0.2.7", "192.0.2.8", "192.0.2.0/24", "2001:db8::1", "example.com"]


def decision(number: Any, value: str = "192.0.2.7", duration: str = "60s", **more: Any) -> dict[str, Any]:
    return {"id": number, "type": "ban", "scope": "Ip", "value": value, "duration": duration, **more}


def update_of(bans: Bans) -> Update:
    return Update(bans, ["ban"], lambda: 100.0)


def test_new_decisions_are_bans_from_now_and_their_networks_are_fresh() -> None:
    bans = Bans()
    update = update_of(bans)
    update.add(decision(1))
    update.add(decision(2, "192.0.2.0/24"))
    assert bans.get(1) == (read_network("192.0.2.7"), 160.0, "crowdsec: ban")
    assert update.fresh == [read_network("192.0.2.7"), read_network("192.0.2.0/24")]
    assert not update.contradicts


def test_a_known_decision_has_another_end_and_is_not_fresh() -> None:
    bans = Bans()
    update_of(bans).add(decision(1))
    update = update_of(bans)
    update.add(decision(1, duration="90s"))
    assert bans.get(1) == (read_network("192.0.2.7"), 190.0, "crowdsec: ban")
    assert update.fresh == []
    assert not update.contradicts


def test_a_known_id_with_another_address_contradicts_and_is_fresh() -> None:
    bans = Bans()
    update_of(bans).add(decision(1))
    update = update_of(bans)
    update.add(decision(1, "192.0.2.8"))
    assert update.fresh == [read_network("192.0.2.8")]
    assert update.contradicts


@pytest.mark.parametrize(("number", "contradicts"), [(9, True), (10, True), (11, False), (5, False)])
def test_a_new_id_that_is_not_above_those_before_contradicts(number: int, contradicts: bool) -> None:
    bans = Bans()
    update_of(bans).add(decision(5))
    update = Update(bans, ["ban"], lambda: 0.0, above=10)
    update.add(decision(number))
    assert update.contradicts == contradicts
    assert update.last_id == max(number, 10)


def test_a_deleted_decision_is_no_ban_and_an_unknown_one_or_none_is_no_fault() -> None:
    bans = Bans()
    update = update_of(bans)
    update.add(decision(1))
    update.add(decision(2))
    for deleted in (decision(1, duration="-10ms"), decision(9), decision("1"), {}, None, [1]):
        update.remove(deleted)
    assert bans.ids() == [2]


def test_each_reason_to_leave_out_a_decision_has_its_first_one_as_an_example() -> None:
    bans = Bans()
    update = update_of(bans)
    country = decision(1, scope="Country")
    for each in (country, decision(2, scope="AS"), decision(3, type="captcha"), decision(4, "x"), decision("5"), None):
        update.add(each)
    assert update.ignored[Ignored.SCOPE] == country
    assert set(update.ignored) == {Ignored.SCOPE, Ignored.TYPE, Ignored.VALUE, Ignored.SHAPE}
    assert len(bans) == 0


def test_a_full_table_takes_no_further_ban_and_goes_on_with_those_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BANS", 2)
    bans = Bans()
    update = update_of(bans)
    for number in range(3):
        update.add(decision(number))
    update.add(decision(1, duration="90s"))
    assert bans.ids() == [0, 1]
    assert update.ignored == {Ignored.NUMBER: decision(2)}
    assert bans.get(1) == (read_network("192.0.2.7"), 190.0, "crowdsec: ban")


async def test_bans_that_were_not_added_are_removed_in_steps() -> None:
    bans = Bans()
    before = update_of(bans)
    for number in range(1000):
        before.add(decision(number))
    update = update_of(bans)
    for number in range(500, 1500):
        update.add(decision(number))
    left = list[int]()

    async def look() -> None:
        while True:
            left.append(len(bans))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await update.remove_others()
        nursery.cancel_scope.cancel()
    assert sorted(bans.ids()) == list(range(500, 1500))
    assert len(set(left)) >= 4


ANSWERS = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(st.tuples(st.integers(0, 5), st.sampled_from(VALUES)), max_size=5),
        st.lists(st.integers(0, 5), max_size=3),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(ANSWERS)
def test_after_any_answers_the_bans_are_those_of_a_dict(answers: list[Any]) -> None:
    async def apply() -> None:
        bans, model = Bans(), dict[int, str]()
        for startup, new, deleted in answers:
            update = update_of(bans)
            if startup:
                model.clear()
            for number, value in new:
                update.add(decision(number, value))
                if value != "example.com":
                    model[number] = value
            if startup:
                await update.remove_others()
            else:
                for number in deleted:
                    update.remove(decision(number))
                    model.pop(number, None)
            assert {each: bans.get(each) for each in bans.ids()} == {
                number: (read_network(value), 160.0, "crowdsec: ban") for number, value in model.items()
            }

    trio.run(apply)
