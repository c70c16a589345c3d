from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from trioedge.services.control_plane import DeviceVerdict
from trioedge.stages.devices.checks import (
    CHECKS_AT_A_TIME,
    FIRST_RETRY_SECONDS,
    MAX_RETRY_SECONDS,
    Check,
    DeviceChecks,
    is_check,
)
from trioedge.telemetry.observer import Observer

SECONDS = 3.0
YES = DeviceVerdict(True)


class Asker:
    """Remembers what it was told and when, and has unanswered questions repeated so many times."""

    def __init__(self, repeats: int = 0) -> None:
        self.told: list[tuple[float, str, DeviceVerdict | None]] = []
        self.repeats = repeats

    def answered(self, service: str, device: str, verdict: DeviceVerdict) -> None:
        self.told.append((trio.current_time(), f"{service}/{device}", verdict))

    def unanswered(self, service: str, device: str) -> bool:
        self.told.append((trio.current_time(), f"{service}/{device}", None))
        self.repeats -= 1
        return self.repeats >= 0

    @property
    def verdicts(self) -> list[DeviceVerdict | None]:
        return [verdict for _, _, verdict in self.told]


class Checker:
    """Takes its time and answers one after the other of these; the last one goes on for ever."""

    def __init__(self, *answers: object, seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self.seconds = seconds
        self.asked: list[tuple[float, str]] = []
        self.running = self.most = 0

    async def __call__(self, service: str, device: str) -> DeviceVerdict:
        self.asked.append((trio.current_time(), f"{service}/{device}"))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.sleep(self.seconds)
        finally:
            self.running -= 1
        answer: Any = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # the tests give others than verdicts too


@asynccontextmanager
async def open_checks(check: Check, asker: Asker) -> AsyncIterator[DeviceChecks]:
    """Run checks for the length of the block; afterwards no task of theirs is left."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    checks = DeviceChecks(check, asker, Observer(), SECONDS)
    async with trio.open_nursery() as nursery:
        await nursery.start(checks.run)
        yield checks
        nursery.cancel_scope.cancel()
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_question_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    asker, verdict = Asker(), DeviceVerdict(False, 5.0, "stolen")
    async with open_checks(Checker(verdict, seconds=2), asker) as checks:
        checks.ask("shop", "192.0.2.1")
        await trio.sleep(10)
        assert asker.told == [(2.0, "shop/192.0.2.1", verdict)]


async def test_what_was_asked_before_it_runs_is_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    asker = Asker()
    checks = DeviceChecks(Checker(YES), asker, Observer(), SECONDS)
    checks.ask("shop", "x")
    async with trio.open_nursery() as nursery:
        await nursery.start(checks.run)
        await trio.sleep(1)
        assert asker.verdicts == [YES]
        nursery.cancel_scope.cancel()


async def test_so_many_are_asked_at_a_time_and_the_others_in_order(autojump_clock: trio.testing.MockClock) -> None:
    asker, checker = Asker(), Checker(YES, seconds=1)
    async with open_checks(checker, asker) as checks:
        for number in range(2 * CHECKS_AT_A_TIME + 1):
            checks.ask("shop", f"{number}")
        await trio.sleep(0.5)
        assert len(checker.asked) == CHECKS_AT_A_TIME
        await trio.sleep(10)
        assert checker.most == CHECKS_AT_A_TIME
        rounds = [sorted(what for when, what in checker.asked if when == second) for second in (0.0, 1.0, 2.0)]
        assert [len(each) for each in rounds] == [CHECKS_AT_A_TIME, CHECKS_AT_A_TIME, 1]
        assert rounds[2] == [f"shop/{2 * CHECKS_AT_A_TIME}"]
        assert len(asker.told) == 2 * CHECKS_AT_A_TIME + 1


@pytest.mark.parametrize(
    "answer",
    [
        LookupError("bug"),
        ExceptionGroup("bugs", [OSError("no route")]),
        True,
        None,
        {"accept": True},
        DeviceVerdict(True, seconds=nan),
        DeviceVerdict(True, seconds=-1.0),
        DeviceVerdict(True, seconds="60"),  # type: ignore[arg-type]
        DeviceVerdict(True, seconds=None),  # type: ignore[arg-type]
    ],
    ids=str,
)
async def test_what_is_no_verdict_is_no_answer(answer: object, autojump_clock: trio.testing.MockClock) -> None:
    asker = Asker()
    with capture_logs() as logs:
        async with open_checks(Checker(answer, YES), asker) as checks:
            checks.ask("shop", "x")
            await trio.sleep(1)
            assert asker.verdicts == [None]
            checks.ask("shop", "x")
            await trio.sleep(1)
            assert asker.verdicts == [None, YES]
    assert [(entry["event"], entry["service"]) for entry in logs] == [("device check failed", "shop")]


async def test_a_checker_that_is_no_async_function_is_no_answer(autojump_clock: trio.testing.MockClock) -> None:
    def check(service: str, device: str) -> DeviceVerdict:
        return YES

    asker = Asker()
    with capture_logs() as logs:
        async with open_checks(check, asker) as checks:  # type: ignore[arg-type]
            checks.ask("shop", "x")
            await trio.sleep(1)
            assert asker.verdicts == [None]
    assert "await" in logs[0]["error"]


async def ask(service: str, device: str) -> DeviceVerdict:
    return YES


class Panel:
    async def ask(self, service: str, device: str) -> DeviceVerdict:
        return YES

    def answer(self, service: str, device: str) -> DeviceVerdict:
        return YES


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (ask, True),
        (Panel().ask, True),
        (Checker(YES), True),
        (partial(ask, device="x"), True),
        (partial(partial(Checker(YES), "shop")), True),
        (Panel().answer, False),
        (lambda service, device: YES, False),
        (partial(Panel().answer, "shop"), False),
        (Checker, False),
        (Panel(), False),
        ("ask", False),
        (None, False),
    ],
)
def test_a_check_is_whatever_is_called_like_an_async_function(value: object, fits: bool) -> None:
    assert is_check(value) is fits


@pytest.mark.parametrize("seconds", [0.0, 1.5, inf])
async def test_any_time_is_a_lifetime(seconds: float, autojump_clock: trio.testing.MockClock) -> None:
    asker = Asker()
    async with open_checks(Checker(DeviceVerdict(True, seconds)), asker) as checks:
        checks.ask("shop", "x")
        await trio.sleep(1)
        assert asker.verdicts == [DeviceVerdict(True, seconds)]


async def test_silence_ends_at_the_deadline_and_the_place_is_free(autojump_clock: trio.testing.MockClock) -> None:
    asker, checker = Asker(), Checker(YES, seconds=1000)
    async with open_checks(checker, asker) as checks:
        for number in range(CHECKS_AT_A_TIME + 1):
            checks.ask("shop", f"{number}")
        await trio.sleep(SECONDS + 1)
        assert [when for when, _, _ in asker.told] == [SECONDS] * CHECKS_AT_A_TIME
        assert checker.running == 1


async def test_who_still_waits_is_asked_about_again_after_growing_pauses(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asker = Asker(repeats=12)
    with capture_logs() as logs:
        async with open_checks(checker := Checker(OSError("down")), asker) as checks:
            checks.ask("shop", "x")
            await trio.sleep(100)
    pauses = [later - earlier for (earlier, _), (later, _) in pairwise(checker.asked)]
    assert len(pauses) == 12, "and not again, once nobody waits"
    assert FIRST_RETRY_SECONDS / 2 <= pauses[0] <= FIRST_RETRY_SECONDS
    assert pauses[4] > 4 * pauses[0]
    assert all(MAX_RETRY_SECONDS / 2 <= pause <= MAX_RETRY_SECONDS for pause in pauses[6:])
    assert len(logs) <= len(pauses), "once a second"


async def test_an_answer_makes_the_next_pause_a_short_one(autojump_clock: trio.testing.MockClock) -> None:
    down = OSError("down")
    checker, asker = Checker(*[down] * 8, YES, down, YES), Asker(repeats=100)
    async with open_checks(checker, asker) as checks:
        checks.ask("shop", "x")
        await trio.sleep(100)
        assert asker.verdicts[-1] is YES
        checks.ask("shop", "x")
        before = trio.current_time()
        await trio.sleep(100)
        assert asker.told[-1][0] - before <= FIRST_RETRY_SECONDS


@pytest.mark.parametrize("moment", ["in flight", "pausing", "waiting for a place"])
async def test_who_forgets_a_service_is_told_nothing_of_what_it_asked_before(
    moment: str, autojump_clock: trio.testing.MockClock
) -> None:
    asker, number = Asker(repeats=1000), CHECKS_AT_A_TIME if moment == "waiting for a place" else 1
    before, after = DeviceVerdict(True, detail="before"), DeviceVerdict(False, detail="after")
    checker = Checker(*[OSError("down") if moment == "pausing" else before] * number, after, seconds=1)
    async with open_checks(checker, asker) as checks:
        for each in range(number):
            checks.ask("shop" if moment != "waiting for a place" else "bank", f"{each}")
        checks.ask("shop", "x")
        await trio.sleep(1.01 if moment == "pausing" else 0.5)
        asker.told.clear()
        checks.forget("shop")
        checks.forget("never heard of")
        checks.ask("shop", "0")
        await trio.sleep(10)
        shops = [(what, verdict) for _, what, verdict in asker.told if what.startswith("shop")]
        assert shops == [("shop/0", after)]
        assert len(checker.asked) == number + (2 if moment == "in flight" else 1) + (moment == "pausing")
        assert not checks._subjects


async def test_a_pause_takes_no_place_from_others(autojump_clock: trio.testing.MockClock) -> None:
    asker, checker = Asker(repeats=1000), Checker(*[OSError("down")] * CHECKS_AT_A_TIME, YES)
    async with open_checks(checker, asker) as checks:
        for number in range(CHECKS_AT_A_TIME):
            checks.ask("shop", f"{number}")
        await trio.testing.wait_all_tasks_blocked()
        assert len(asker.told) == CHECKS_AT_A_TIME
        checks.ask("bank", "x")
        await trio.testing.wait_all_tasks_blocked()
        assert asker.told[-1] == (0.0, "bank/x", YES)


async def test_what_a_checker_holds_is_let_go_at_the_deadline_before_the_asker_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trail: list[str] = []

    async def check(service: str, device: str) -> DeviceVerdict:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
        finally:
            trail.append("let go")
        raise AssertionError  # never

    class Trail(Asker):
        def unanswered(self, service: str, device: str) -> bool:
            trail.append("told")
            return False

    async with open_checks(check, Trail()) as checks:
        checks.ask("shop", "x")
        await trio.sleep(10)
        assert trail == ["let go", "told"]


@pytest.mark.parametrize("moment", ["in flight", "pausing", "waiting for a place", "nothing to do"])
async def test_a_cancel_tells_nobody_and_leaves_nothing(moment: str, autojump_clock: trio.testing.MockClock) -> None:
    asker = Asker(repeats=1000)
    checker = Checker(OSError("down")) if moment == "pausing" else Checker(YES, seconds=2)
    async with open_checks(checker, asker) as checks:
        if moment != "nothing to do":
            for number in range(CHECKS_AT_A_TIME + 5 if moment == "waiting for a place" else 1):
                checks.ask("shop", f"{number}")
        await trio.sleep(0.001)
        told = len(asker.told)
        assert told == (moment == "pausing")
    assert checker.running == 0
    await trio.sleep(100)
    assert len(asker.told) == told


@pytest.mark.parametrize(("seconds", "fits"), [(Decimal(60), True), (10**400, False)])
async def test_a_lifetime_is_what_a_float_can_be(
    seconds: Any, fits: bool, autojump_clock: trio.testing.MockClock
) -> None:
    asker, verdict = Asker(), DeviceVerdict(True, seconds)
    async with open_checks(Checker(verdict), asker) as checks:
        checks.ask("shop", "x")
        await trio.sleep(1)
        assert asker.verdicts[0] == (verdict if fits else None)
