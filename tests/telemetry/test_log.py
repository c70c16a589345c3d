import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.support.odd_faults import ODD_FAULTS, PartlessGroup
from trioedge.session.verdict import Completed, Reason, Reject
from trioedge.telemetry.log import SESSION_LINES, EdgeLog, parted
from trioedge.testing import make_session


async def test_a_storm_of_notices_is_one_line_a_second_that_says_how_many_were_left_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = EdgeLog()
    with capture_logs() as logs:
        for _ in range(100):
            log.notice("shedding", live=7)
        log.notice("another")
        await trio.sleep(1)
        log.notice("shedding", live=8)
        await trio.sleep(1)
        log.notice("shedding", live=9)
    assert [(entry["event"], entry.get("left_out"), entry.get("live")) for entry in logs] == [
        ("shedding", None, 7),
        ("another", None, None),
        ("shedding", 99, 8),
        ("shedding", None, 9),
    ]


async def test_a_notice_of_one_tenant_upstream_or_stage_leaves_out_none_of_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = EdgeLog()
    with capture_logs() as logs:
        for _ in range(2):
            for key in ({"service": "a"}, {"service": "b"}, {"upstream": "a"}, {"stage": "a"}, {"service": ["a"]}, {}):
                log.notice("upstream failed", **key, error="refused")
        await trio.sleep(1)
        log.notice("upstream failed", service="a", error="timeout")
    facts = ("service", "upstream", "stage", "left_out")
    assert [tuple(entry.get(name) for name in facts) for entry in logs] == [
        ("a", None, None, None), ("b", None, None, None), (None, "a", None, None), (None, None, "a", None),
        (["a"], None, None, None), ("a", None, None, 1),
    ]  # fmt: skip


async def test_a_fault_is_logged_with_its_traceback_and_without_its_frames() -> None:
    def fail() -> None:
        raise LookupError("x")

    try:
        fail()
    except LookupError as raised:
        fault = raised
    with capture_logs() as logs:
        EdgeLog().fault("stage failed", fault, session=3)
    text = logs[0].pop("traceback")
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith('raise LookupError("x")\nLookupError: x')
    assert logs == [{"event": "stage failed", "log_level": "error", "session": 3, "exc_info": fault}]
    assert fault.__traceback__ is None


async def test_a_fault_hides_the_same_fault_for_a_second_and_no_other(autojump_clock: trio.testing.MockClock) -> None:
    log = EdgeLog()
    with capture_logs() as logs:
        for fault in (LookupError("x"), LookupError("y"), ValueError("z")):
            log.fault("stage failed", fault)
        log.fault("clean-up failed", LookupError("x"))
        await trio.sleep(1)
        log.fault("stage failed", LookupError("x"))
    assert [(entry["event"], str(entry["exc_info"]), entry.get("left_out")) for entry in logs] == [
        ("stage failed", "x", None), ("stage failed", "z", None), ("clean-up failed", "x", None),
        ("stage failed", "x", 1),
    ]  # fmt: skip


def test_refusals_and_ends_are_counted_apart() -> None:
    log = EdgeLog()
    for outcome in (Completed(), Reject(Reason.RATE), Completed(Reason.FAULT), Reject(Reason.FAULT), Completed()):
        log.count(outcome)
    assert log.ended == {Reason.FINISHED: 2, Reason.FAULT: 1}
    assert log.refused == {Reason.RATE: 1, Reason.FAULT: 1}


async def test_each_refused_session_is_a_line_at_debug_with_the_stage_that_refused() -> None:
    log = EdgeLog()
    log.stages = ["SourceMatch", "SessionGate", "Forward"]
    session = make_session("192.0.2.7", service="shop")
    with capture_logs() as logs:
        log.session(session, Reject(Reason.OVERLOAD))
        session.begin_trace()[:] = [500, ~700]
        log.session(session, Reject(Reason.RATE, "more than 5 sessions a second"))
        log.session(session, Completed(Reason.RATE))
        log.session(session, Completed())
    facts = {"log_level": "debug", "session": session.id, "source": "192.0.2.7", "service": "shop"}
    assert logs == [
        {"event": "session refused", "reason": "overload", "detail": "", "stage": "", **facts},
        {"event": "session refused", "reason": "rate", "detail": "more than 5 sessions a second",
         "stage": "SessionGate", **facts},
        {"event": "session ended", "reason": "rate", "detail": "", **facts},
    ]  # fmt: skip


async def test_a_flood_of_refusals_is_a_hundred_lines_a_second(autojump_clock: trio.testing.MockClock) -> None:
    log = EdgeLog()
    session = make_session("192.0.2.7")
    with capture_logs() as logs:
        for _ in range(SESSION_LINES + 5):
            log.session(session, Reject(Reason.RATE))
        assert len(logs) == SESSION_LINES
        await trio.sleep(1)
        log.session(session, Reject(Reason.RATE))
        log.session(session, Reject(Reason.RATE))
    assert [entry.get("left_out") for entry in logs[SESSION_LINES:]] == [5, None]


FAILS = """\
import trio
import trioedge as te

@te.decision
def check(session):
    password = "hunter" + str(2)
    raise LookupError("no such user")

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(te.Edge("unix:///{path}", [check], te.Forward("tcp://127.0.0.1:1")).serve)
        async with await trio.open_unix_socket("{path}") as client:
            await client.receive_some()
        nursery.cancel_scope.cancel()

import structlog
{configure}
trio.run(main)
"""


@pytest.mark.parametrize(
    "configure",
    ["", "structlog.configure(logger_factory=structlog.PrintLoggerFactory())", "import rich; structlog.configure()"],
)
def test_a_program_with_its_own_log_or_none_shows_no_local_variable(configure: str, tmp_path: Path) -> None:
    program = FAILS.format(path=tmp_path / "edge.sock", configure=configure)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert "LookupError" in said
    assert "in check" in said
    assert "hunter2" not in said
    assert ("decision failed" in done.stderr) is (configure == "")


@pytest.mark.parametrize(("level", "debugs"), [(logging.DEBUG, True), (logging.INFO, False)])
def test_refusals_are_logged_only_where_level_debug_is_written(level: int, debugs: bool) -> None:
    before = structlog.get_config()
    try:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
        assert EdgeLog().debugs is debugs
    finally:
        structlog.configure(**before)


def test_a_group_that_makes_no_other_group_is_parted() -> None:
    stop, fault = KeyboardInterrupt(), ValueError("no")
    stops, faults = parted(PartlessGroup("all", [stop, BaseExceptionGroup("some", [fault])]))
    assert isinstance(stops, BaseExceptionGroup)
    assert isinstance(faults, BaseExceptionGroup)
    assert (stops.exceptions, faults.exceptions) == ((stop,), (fault,))


@pytest.mark.parametrize("make", ODD_FAULTS.values(), ids=ODD_FAULTS)
def test_an_exception_whose_own_fields_raise_is_a_fault(make: Callable[[], BaseException]) -> None:
    fault = make()
    stop, rest = parted(fault)
    assert stop is None
    assert rest is fault or isinstance(rest, ExceptionGroup)


def test_a_subclass_of_an_exception_that_ends_the_process_does_so() -> None:
    class Stops(KeyboardInterrupt):
        pass

    stop = Stops()
    assert parted(stop) == (stop, None)
