from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.support.devices import Tenants, make_service
from trioedge.services.control_plane import MAX_DETAIL_LETTERS, DeviceVerdict
from trioedge.services.service import Service
from trioedge.stages.devices.checks import (
    CHECKS_AT_A_TIME,
    FIRST_RETRY_SECONDS,
    MAX_RETRY_SECONDS,
    Check,
    DeviceChecks,
)
from trioedge.telemetry.log import EdgeLog

SECONDS = 3.0
YES = DeviceVerdict(True)

SHOP, BANK = make_service("shop"), make_service("bank")


class Asker:
    """Notes each notification and its time, and has that many unanswered questions repeated."""

    def __init__(self, repeats: int = 0) -> None:
        self.told: list[tuple[float, str, DeviceVerdict | None]] = []
        self.repeats = repeats
        self.unwanted: set[str] = set()

    def wanted(self, service: Service, device: str) -> bool:
        return device not in self.unwanted

    def answered(self, service: Service, device: str, verdict: DeviceVerdict) -> None:
        self.told.append((trio.current_time(), f"{service.name}/{device}", verdict))

    def unanswered(self, service: Service, device: str) -> bool:
        self.told.append((trio.current_time(), f"{service.name}/{device}", None))
        self.repeats -= 1
        return self.repeats >= 0

    @property
    def verdicts(self) -> list[DeviceVerdict | None]:
        return [verdict for _, _, verdict in self.told]


class Checker:
    """Gives these answers one after the other, each after some seconds; the last one again and again."""

    def __init__(self, *answers: object, seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self.seconds = seconds
        self.asked: list[tuple[float, str]] = []
        self.running = self.max_running = 0

    async def __call__(self, service: str, device: str) -> DeviceVerdict:
        self.asked.append((trio.current_time(), f"{service}/{device}"))
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        try:
            await trio.sleep(self.seconds)
        finally:
            self.running -= 1
        answer: Any = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # some are no verdicts


@asynccontextmanager
async def open_checks(check: Check, asker: Asker) -> AsyncIterator[DeviceChecks]:
    """Run checks for the length of the block; they leave no task behind."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    checks = DeviceChecks(check, asker, EdgeLog(), SECONDS)
    async with trio.open_nursery() as nursery:
        await nursery.start(checks.run)
        yield checks
        nursery.cancel_scope.cancel()
    assert trio.lowlevel.current_statistics().tasks_living == tasks


# Questions and answers.


async def test_the_asker_is_notified_of_the_verdict(autojump_clock: trio.testing.MockClock) -> None:
    asker, verdict = Asker(), DeviceVerdict(False, 5.0, "stolen")
    async with open_checks(Checker(verdict, seconds=2), asker) as checks:
        checks.ask(SHOP, "192.0.2.1")
        await trio.sleep(10)
        assert asker.told == [(2.0, "shop/192.0.2.1", verdict)]


async def test_a_question_from_before_the_start_is_asked(autojump_clock: trio.testing.MockClock) -> None:
    asker = Asker()
    checks = DeviceChecks(Checker(YES), asker, EdgeLog(), SECONDS)
    checks.ask(SHOP, "x")
    async with trio.open_nursery() as nursery:
        await nursery.start(checks.run)
        await trio.sleep(1)
        assert asker.verdicts == [YES]
        nursery.cancel_scope.cancel()


async def test_a_question_that_is_no_more_wanted_when_its_turn_comes_is_not_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asker, checker = Asker(), Checker(YES)
    asker.unwanted = {"x"}
    async with open_checks(checker, asker) as checks:
        for device in "xy":
            checks.ask(SHOP, device)
        await trio.sleep(1)
    assert [device for _, device in checker.asked] == ["shop/y"]
    assert len(asker.told) == 1


async def test_64_questions_are_in_flight_and_the_others_wait_in_order(autojump_clock: trio.testing.MockClock) -> None:
    asker, checker = Asker(), Checker(YES, seconds=1)
    async with open_checks(checker, asker) as checks:
        for number in range(2 * CHECKS_AT_A_TIME + 1):
            checks.ask(SHOP, f"{number}")
        await trio.sleep(0.5)
        assert len(checker.asked) == CHECKS_AT_A_TIME
        await trio.sleep(10)
        assert checker.max_running == CHECKS_AT_A_TIME
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
        DeviceVerdict(True, seconds=10**400),
    ],
    ids=str,
)
async def test_an_error_or_an_answer_that_is_no_verdict_counts_as_no_answer(
    answer: object, autojump_clock: trio.testing.MockClock
) -> None:
    asker = Asker()
    with capture_logs() as logs:
        async with open_checks(Checker(answer, YES), asker) as checks:
            checks.ask(SHOP, "x")
            await trio.sleep(1)
            assert asker.verdicts == [None]
            checks.ask(SHOP, "x")
            await trio.sleep(1)
            assert asker.verdicts == [None, YES]
    assert [(entry["event"], entry["service"]) for entry in logs] == [("device check failed", "shop")]


class Odd:
    """Raises when it is looked at."""

    def __bool__(self) -> bool:
        raise LookupError("no truth")

    def __str__(self) -> str:
        raise LookupError("no text")


@pytest.mark.parametrize("field", ["accept", "detail"])
async def test_a_verdict_with_a_field_that_raises_counts_as_no_answer(
    field: str, autojump_clock: trio.testing.MockClock
) -> None:
    asker, odd = Asker(), Odd()
    verdict: Any = DeviceVerdict(odd if field == "accept" else True, 60.0, odd if field == "detail" else "")  # type: ignore[arg-type]
    with capture_logs() as logs:
        async with open_checks(Checker(verdict, YES), asker) as checks:
            checks.ask(SHOP, "x")
            await trio.sleep(1)
            checks.ask(SHOP, "x")
            await trio.sleep(1)
            assert asker.verdicts == [None, YES]
    assert [entry["event"] for entry in logs] == ["device check failed"]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (DeviceVerdict(True, 0.0), DeviceVerdict(True, 0.0)),
        (DeviceVerdict(True, inf), DeviceVerdict(True, inf)),
        (DeviceVerdict(True, Decimal("1.5")), DeviceVerdict(True, 1.5)),  # type: ignore[arg-type]
        (DeviceVerdict(1, 60), DeviceVerdict(True, 60.0)),  # type: ignore[arg-type]
        (DeviceVerdict(0, 60), DeviceVerdict(False, 60.0)),  # type: ignore[arg-type]
        (DeviceVerdict(True, 60.0, None), DeviceVerdict(True, 60.0, "")),  # type: ignore[arg-type]
        (DeviceVerdict(True, 60.0, 404), DeviceVerdict(True, 60.0, "404")),  # type: ignore[arg-type]
        (DeviceVerdict(True, 60.0, "x" * 60_000), DeviceVerdict(True, 60.0, "x" * MAX_DETAIL_LETTERS)),
    ],
)
async def test_the_fields_of_a_verdict_get_their_types_and_bounds(
    answer: DeviceVerdict, verdict: DeviceVerdict, autojump_clock: trio.testing.MockClock
) -> None:
    asker = Asker()
    async with open_checks(Checker(answer), asker) as checks:
        checks.ask(SHOP, "x")
        await trio.sleep(1)
        assert asker.verdicts == [verdict]
        (told,) = asker.verdicts
        assert told is not None
        assert [type(each) for each in (told.accept, told.seconds, told.detail)] == [bool, float, str]


async def test_a_checker_that_is_no_async_function_counts_as_no_answer(autojump_clock: trio.testing.MockClock) -> None:
    def check(service: str, device: str) -> DeviceVerdict:
        return YES

    asker = Asker()
    with capture_logs() as logs:
        async with open_checks(check, asker) as checks:  # type: ignore[arg-type]
            checks.ask(SHOP, "x")
            await trio.sleep(1)
            assert asker.verdicts == [None]
    assert "await" in logs[0]["error"]


async def ask(service: str, device: str) -> DeviceVerdict:
    return YES


# Questions without an answer.


async def test_a_question_without_an_answer_ends_at_the_deadline_and_frees_its_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asker, checker = Asker(), Checker(YES, seconds=1000)
    async with open_checks(checker, asker) as checks:
        for number in range(CHECKS_AT_A_TIME + 1):
            checks.ask(SHOP, f"{number}")
        await trio.sleep(SECONDS + 1)
        assert [when for when, _, _ in asker.told] == [SECONDS] * CHECKS_AT_A_TIME
        assert checker.running == 1


async def test_a_question_is_repeated_after_growing_pauses_while_the_asker_needs_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asker = Asker(repeats=12)
    with capture_logs() as logs:
        async with open_checks(checker := Checker(OSError("down")), asker) as checks:
            checks.ask(SHOP, "x")
            await trio.sleep(100)
    pauses = [later - earlier for (earlier, _), (later, _) in pairwise(checker.asked)]
    assert len(pauses) == 12
    assert FIRST_RETRY_SECONDS / 2 <= pauses[0] <= FIRST_RETRY_SECONDS
    assert pauses[4] > 4 * pauses[0]
    assert all(MAX_RETRY_SECONDS / 2 <= pause <= MAX_RETRY_SECONDS for pause in pauses[6:])
    assert len(logs) <= len(pauses), "at most one line a second"


async def test_an_answer_resets_the_pause(autojump_clock: trio.testing.MockClock) -> None:
    down = OSError("down")
    checker, asker = Checker(*[down] * 8, YES, down, YES), Asker(repeats=100)
    async with open_checks(checker, asker) as checks:
        checks.ask(SHOP, "x")
        await trio.sleep(100)
        assert asker.verdicts[-1] == YES
        checks.ask(SHOP, "x")
        before = trio.current_time()
        await trio.sleep(100)
        assert asker.told[-1][0] - before <= FIRST_RETRY_SECONDS


async def test_a_pause_takes_no_place_from_other_questions(autojump_clock: trio.testing.MockClock) -> None:
    asker, checker = Asker(repeats=1000), Checker(*[OSError("down")] * CHECKS_AT_A_TIME, YES)
    async with open_checks(checker, asker) as checks:
        for number in range(CHECKS_AT_A_TIME):
            checks.ask(SHOP, f"{number}")
        await trio.testing.wait_all_tasks_blocked()
        assert len(asker.told) == CHECKS_AT_A_TIME
        checks.ask(BANK, "x")
        await trio.testing.wait_all_tasks_blocked()
        assert asker.told[-1] == (0.0, "bank/x", YES)


async def test_the_checker_has_cleaned_up_before_the_asker_is_notified_of_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trail: list[str] = []

    async def check(service: str, device: str) -> DeviceVerdict:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
        finally:
            trail.append("cleaned up")
        raise AssertionError  # never

    class Trail(Asker):
        def unanswered(self, service: Service, device: str) -> bool:
            trail.append("notified")
            return False

    async with open_checks(check, Trail()) as checks:
        checks.ask(SHOP, "x")
        await trio.sleep(10)
        assert trail == ["cleaned up", "notified"]


@pytest.mark.parametrize("answer", [YES, OSError("down")], ids=["answered", "unanswered"])
async def test_an_asker_that_raises_costs_its_question_and_no_other(
    answer: object, autojump_clock: trio.testing.MockClock
) -> None:
    class Raising(Asker):
        def answered(self, service: Service, device: str, verdict: DeviceVerdict) -> None:
            if device == "first":
                raise LookupError("bug")
            super().answered(service, device, verdict)

        def unanswered(self, service: Service, device: str) -> bool:
            raise LookupError("bug")

    asker = Raising()
    with capture_logs() as logs:
        async with open_checks(Checker(answer, YES), asker) as checks:
            for device in ("first", "second"):
                checks.ask(SHOP, device)
                await trio.sleep(1)
            assert [what for _, what, _ in asker.told] == ["shop/second"]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["device limit failed"]


# A service that is removed, and a cancel.


@pytest.mark.parametrize("moment", ["in flight", "pausing", "waiting for a place"])
async def test_the_asker_is_not_notified_of_questions_about_a_removed_service(
    moment: str, autojump_clock: trio.testing.MockClock
) -> None:
    """The service that is named again has questions of its own, also about the same device."""
    tenants = Tenants()
    asker, number = Asker(repeats=1000), CHECKS_AT_A_TIME if moment == "waiting for a place" else 1
    before, after = DeviceVerdict(True, detail="before"), DeviceVerdict(False, detail="after")
    checker = Checker(*[OSError("down") if moment == "pausing" else before] * number, after, seconds=1)
    async with open_checks(checker, asker) as checks:
        for each in range(number):
            checks.ask(tenants["shop" if moment != "waiting for a place" else "bank"], f"{each}")
        checks.ask(tenants["shop"], "x")
        await trio.sleep(1.01 if moment == "pausing" else 0.5)
        asker.told.clear()
        tenants.remove("shop")
        checks.ask(tenants["shop"], "0")
        await trio.sleep(10)
        shops = [(what, verdict) for _, what, verdict in asker.told if what.startswith("shop")]
        assert shops == [("shop/0", after)]
        assert len(checker.asked) == number + (2 if moment == "in flight" else 1) + (moment == "pausing")


@pytest.mark.parametrize("moment", ["in flight", "pausing", "waiting for a place", "nothing to do"])
async def test_after_a_cancel_the_asker_is_not_notified_and_no_task_is_left(
    moment: str, autojump_clock: trio.testing.MockClock
) -> None:
    asker = Asker(repeats=1000)
    checker = Checker(OSError("down")) if moment == "pausing" else Checker(YES, seconds=2)
    async with open_checks(checker, asker) as checks:
        if moment != "nothing to do":
            for number in range(CHECKS_AT_A_TIME + 5 if moment == "waiting for a place" else 1):
                checks.ask(SHOP, f"{number}")
        await trio.sleep(0.001)
        told = len(asker.told)
        assert told == (moment == "pausing")
    assert checker.running == 0
    await trio.sleep(100)
    assert len(asker.told) == told
