from collections.abc import Callable
from math import inf, nan
from types import SimpleNamespace
from typing import Any

import pytest
import trio.testing

from trioedge.addresses.address import parse_address
from trioedge.addresses.source_prefix import SourcePrefix
from trioedge.errors import ConfigurationError, quote
from trioedge.session.allowance import Allowance
from trioedge.session.fields import HALF_CLOSED_SECONDS, IDLE_SECONDS, ByteStream
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Reason
from trioedge.testing import make_session

READ_ONLY = [
    "id", "listener", "source_bytes", "source_port", "peer", "peer_bytes", "started_at", "now", "policy",
    "state", "outcome", "cut_reason", "phase", "pacing", "bytes_up", "bytes_down", "refusal",
    "trace", "stamp",
]  # fmt: skip


@pytest.mark.parametrize("field", READ_ONLY)
def test_a_field_that_stages_only_read_cannot_be_written(field: str) -> None:
    session = make_session()
    before = getattr(session, field)
    with pytest.raises(AttributeError, match=rf"property '{field}' of 'Session' object has no setter"):
        setattr(session, field, before)


@pytest.mark.parametrize(
    ("field", "mend"),
    [
        ("source", "call session.set_source(address)"),
        ("down_rate", "call session.pace(down, up)"),
        ("up_rate", "call session.pace(down, up)"),
    ],
)
def test_a_field_that_a_method_changes_names_the_method_when_it_is_assigned(field: str, mend: str) -> None:
    session = make_session()
    with pytest.raises(AttributeError) as refusal:
        setattr(session, field, 5)
    assert str(refusal.value) == f"session.{field} cannot be assigned: {mend}"


def test_a_misspelt_field_is_refused() -> None:
    session = make_session()
    with pytest.raises(AttributeError):
        session.destinaton = "tcp://127.0.0.1:1"  # type: ignore[attr-defined]


def test_a_new_session_has_no_limit_but_the_idle_ones() -> None:
    session = make_session("192.0.2.1", now=7.0, listener="unix:///run/edge.sock")
    assert (session.listener, session.started_at) == ("unix:///run/edge.sock", 7.0)
    assert (session.idle_seconds, session.half_closed_seconds) == (IDLE_SECONDS, HALF_CLOSED_SECONDS)
    assert (session.down_rate, session.up_rate) == (inf, inf)
    assert [session.destination, session.device, session.allowance, session.stream] == [None] * 4
    assert [session.outcome, session.cut_reason, session.trace] == [None] * 3


# Numbers of seconds.

SECONDS = ["idle_seconds", "half_closed_seconds"]


@pytest.mark.parametrize("field", SECONDS)
@pytest.mark.parametrize("seconds", [5, 0.5, inf, 10**300])
def test_any_number_of_seconds_above_0_is_kept_as_a_float(field: str, seconds: float) -> None:
    session = make_session()
    setattr(session, field, seconds)
    assert getattr(session, field) == float(seconds)
    assert type(getattr(session, field)) is float


@pytest.mark.parametrize("field", SECONDS)
@pytest.mark.parametrize("value", [0, -1, 0.0, nan, -inf, None, "5", True, [5], 10**400, "x" * 100_000])
def test_seconds_that_are_no_number_above_0_are_refused_and_change_nothing(field: str, value: Any) -> None:
    session = make_session()
    before = getattr(session, field)
    with pytest.raises(TypeError) as refusal:
        setattr(session, field, value)
    assert str(refusal.value) == f"session.{field} = {quote(value)} must be a number of seconds above 0"
    assert getattr(session, field) == before


# The destination.


@pytest.mark.parametrize("destination", ["tcp://Redis.internal:6379", "unix:///run/redis.sock", "tcp://[::1]:80"])
def test_a_destination_is_kept_as_normal_text(destination: str) -> None:
    session = make_session()
    session.destination = destination
    assert session.destination == str(parse_address(destination))
    session.destination = parse_address("tcp://127.0.0.1:1")
    assert session.destination == "tcp://127.0.0.1:1"
    session.destination = None
    assert session.destination is None


@pytest.mark.parametrize(
    "value", ["", "redis:6379", "tcp://redis", "tcp://redis:0", "http://redis:80", 6379, b"tcp://a:1", ["tcp://a:1"],
              "tcp://" + "a" * 100_000 + ":1", "tcp://a\n:1"],
)  # fmt: skip
def test_a_destination_that_is_no_address_is_refused_in_one_short_line(value: Any) -> None:
    session = make_session()
    session.destination = "tcp://127.0.0.1:1"
    with pytest.raises(ConfigurationError) as refusal:
        session.destination = value
    message = str(refusal.value)
    assert message.startswith("session.destination: address ")
    assert len(message) < 400
    assert "\n" not in message
    assert session.destination == "tcp://127.0.0.1:1"


# The device.


@pytest.mark.parametrize("device", ["phone", "", "x" * 255, None])
def test_a_device_is_text_of_at_most_255_letters_or_none(device: str | None) -> None:
    session = make_session()
    session.device = "before"
    session.device = device
    assert session.device == device


@pytest.mark.parametrize("value", [5, b"phone", ["phone"], "x" * 256, object()])
def test_any_other_device_is_refused(value: Any) -> None:
    session = make_session()
    session.device = "before"
    with pytest.raises(TypeError) as refusal:
        session.device = value
    assert str(refusal.value) == f"session.device = {quote(value)} must be text of at most 255 letters, or None"
    assert session.device == "before"


# The allowance and the stream.


def test_an_allowance_is_an_allowance_or_none() -> None:
    session, allowance = make_session(), Allowance(5)
    session.allowance = allowance
    for value in (5, inf, "5", Allowance):
        with pytest.raises(TypeError) as refusal:
            session.allowance = value  # type: ignore[assignment]
        assert str(refusal.value) == f"session.allowance = {value!r} must be an Allowance or None"
    assert session.allowance is allowance
    session.allowance = None
    assert session.allowance is None


class Wrapper:
    """A stream as a middleware may write one: without a base class."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("make", [Wrapper, lambda: trio.testing.memory_stream_pair()[0]])
def test_a_stream_is_any_object_with_the_methods_of_one(make: Callable[[], ByteStream]) -> None:
    session, stream = make_session(), make()
    assert session.accepted is None
    session.stream = stream
    assert session.stream is stream
    session.stream = make()
    assert session.accepted is stream


@pytest.mark.parametrize("value", [None, 5, b"bytes", object(), trio.testing.MemoryReceiveStream()])
def test_an_object_without_the_methods_of_a_stream_is_refused(value: Any) -> None:
    session = make_session()
    with pytest.raises(TypeError) as refusal:
        session.stream = value
    assert str(refusal.value) == (
        f"session.stream = {quote(value)} must be a stream, with receive_some, send_all and aclose"
    )
    assert session.stream is None


# Time and state.


class TickingClock:
    """Goes on by a second each time that it is read."""

    def __init__(self) -> None:
        self.now = 10.0

    def refresh(self) -> float:
        self.now += 1.0
        return self.now


class Scope:
    def cancel(self) -> None: ...


def session_on(clock: TickingClock) -> Session:
    plain = make_session()

    class Home:
        def __init__(self) -> None:
            self.clock = clock
            self.source_prefix = SourcePrefix()

        def find(self, service: object) -> Any:
            raise NotImplementedError

    return Session(1, "tcp://127.0.0.1:1", "192.0.2.1", b"", 1, 10.0, plain.service, Home())


def test_for_leading_decisions_the_time_is_that_of_the_batch() -> None:
    session = session_on(TickingClock())
    assert [session.now, session.now] == [10.0, 10.0]


def test_a_session_that_lives_elsewhere_has_the_clock_and_the_services_of_its_new_home() -> None:
    session, other = session_on(TickingClock()), make_session(now=99.0)
    home = SimpleNamespace(
        clock=SimpleNamespace(now=99.0), find=lambda name: other.service, source_prefix=SourcePrefix()
    )
    session.live_in(home)
    session.service = "any"
    assert (session.now, session.service) == (99.0, other.service)


def test_the_state_is_made_when_it_is_first_asked_for_and_stays() -> None:
    session = make_session()
    session.state[int] = 5
    session.end(Completed(Reason.IDLE))
    assert session.state[int] == 5
    assert make_session().state.get(int) is None
