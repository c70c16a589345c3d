import io
import traceback
from collections.abc import Callable

import pytest
import structlog

from tests.support.odd_faults import ODD_FAULTS
from trioedge.telemetry.tracebacks import detached


def plain(password: str) -> None:
    raise ValueError("no")


def nested(password: str) -> None:
    def inner(token: str) -> None:
        plain(token)

    (lambda secret: inner(secret))(password)


def chained(password: str) -> None:
    try:
        plain(password)
    except ValueError as fault:
        raise LookupError("no such") from fault


def in_context(password: str) -> None:
    try:
        plain(password)
    except ValueError:
        raise LookupError("no such")  # noqa: B904


def grouped(password: str) -> None:
    faults = []
    for _ in range(2):
        try:
            nested(password)
        except ValueError as fault:
            faults.append(fault)
    raise ExceptionGroup("several", faults)


def generated(password: str) -> None:
    def generator(secret: str) -> object:
        yield
        plain(secret)

    list(generator(password))  # type: ignore[call-overload]


def recursive(password: str) -> None:
    recursive(password)


def raised(make: Callable[[str], None]) -> BaseException:
    try:
        make("hunter" + str(2))
    except BaseException as fault:
        return fault
    raise AssertionError


def locals_of(fault: BaseException) -> str:
    return repr(traceback.TracebackException.from_exception(fault, capture_locals=True).__dict__) + "".join(
        traceback.TracebackException.from_exception(fault, capture_locals=True).format()
    )


MAKERS = [plain, nested, chained, in_context, grouped, generated, recursive]


@pytest.mark.parametrize("make", MAKERS)
def test_the_text_is_the_whole_traceback(make: Callable[[str], None]) -> None:
    fault = raised(make)
    before = "".join(traceback.format_exception(fault))
    assert detached(fault) == before.rstrip()


@pytest.mark.parametrize("make", MAKERS)
def test_no_local_variable_is_left(make: Callable[[str], None]) -> None:
    fault = raised(make)
    assert "hunter2" in locals_of(fault)
    assert "hunter2" not in detached(fault)
    assert "hunter2" not in locals_of(fault)


def test_structlogs_default_shows_no_secret() -> None:
    fault = raised(grouped)
    detached(fault)
    shown = io.StringIO()
    structlog.dev.RichTracebackFormatter(color_system=None)(shown, (type(fault), fault, fault.__traceback__))
    assert "several" in shown.getvalue()
    assert "hunter2" not in shown.getvalue()


def test_an_exception_that_was_never_raised_and_a_circle_of_causes() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert detached(first).endswith("ValueError: a")


def test_an_exception_that_cannot_be_written() -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert "UnspeakableError" in detached(UnspeakableError())


def test_frames_and_what_they_hold_are_freed() -> None:
    class Held:
        freed = False

        def __del__(self) -> None:
            Held.freed = True

    def fail() -> None:
        held = Held()  # noqa: F841
        raise ValueError

    fault = raised(lambda _: fail())
    assert not Held.freed
    detached(fault)
    assert Held.freed


@pytest.mark.parametrize("make", ODD_FAULTS.values(), ids=ODD_FAULTS)
def test_an_exception_whose_own_fields_raise_is_written_and_freed(make: Callable[[], BaseException]) -> None:
    def plain_stage(password: str) -> None:
        raise make()

    fault = raised(plain_stage)
    text = detached(fault)
    assert "plain_stage" in text
    assert type(fault).__name__ in text
    assert BaseException.__dict__["__traceback__"].__get__(fault) is None
