"""The commands of handshakes, and the decorator."""

import ssl
from collections.abc import Callable
from typing import Any

import pytest

import trioedge
from trioedge.session.handshake import MAX_BYTES, SECONDS, Handshake
from trioedge.testing import make_session

te: Any = trioedge  # so that wrong arguments may be given


async def look_up(name: str) -> str:
    return name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: te.Read(-1), "Read(-1) must be a number of bytes, 0 or more"),
        (lambda: te.Read(True), "Read(True) must be a number of bytes, 0 or more"),
        (lambda: te.Read("4"), "Read('4') must be a number of bytes, 0 or more"),
        (lambda: te.ReadUntil(b""), r"ReadUntil(b'') needs bytes to look for, as in ReadUntil(b'\r\n')"),
        (lambda: te.ReadUntil("\n"), r"ReadUntil('\n') needs bytes to look for, as in ReadUntil(b'\r\n')"),
        (lambda: te.ReadUntil(b"\n", 0), "ReadUntil(max_bytes=0) must be a number of bytes above 0, or None"),
        (lambda: te.ReadUntil(b"\n", 1.5), "ReadUntil(max_bytes=1.5) must be a number of bytes above 0, or None"),
        (lambda: te.Peek(0), "Peek(0) must be a number of bytes above 0"),
        (lambda: te.Peek(1, -1), "Peek(seconds=-1) must be a number of seconds, or None"),
        (lambda: te.Peek(1, float("nan")), "Peek(seconds=nan) must be a number of seconds, or None"),
        (lambda: te.Send("text"), "Send('text') needs bytes"),
        (lambda: te.Send(5), "Send(5) needs bytes"),
        (lambda: te.StartTls("context"), "StartTls('context') needs an ssl.SSLContext of a server"),
        (lambda: te.Background(5), "Background(5) needs an async function, not called yet, and its arguments"),
    ],
)
def test_a_command_that_cannot_be_carried_out_is_refused_where_it_is_made(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(TypeError) as refusal:
        make()
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (te.Read(4), "Read(4)"),
        (te.ReadUntil(b"\r\n", 99), r"ReadUntil(b'\r\n')"),
        (te.Peek(4), "Peek(4)"),
        (te.Peek(1, 0.5), "Peek(1, seconds=0.5)"),
        (te.Send(b"password"), "Send(8 bytes)"),
        (te.Send(memoryview(b"password")), "Send(8 bytes)"),
        (te.Background(look_up, "password"), "Background(look_up)"),
        (te.PROCEED, "PROCEED"),
    ],
)
def test_the_text_of_a_command_says_what_it_does_and_no_secret(command: object, text: str) -> None:
    assert repr(command) == text


def test_start_tls_takes_a_context() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert te.StartTls(context).context is context


def greet(session: trioedge.Session) -> trioedge.Steps:
    yield trioedge.Read(1)
    return trioedge.CONTINUE


def test_a_lifted_function_is_a_handshake_with_the_usual_bounds_and_is_still_called() -> None:
    stage = trioedge.handshake(greet)
    assert isinstance(te.handshake(greet), Handshake)
    assert (stage.seconds, stage.max_bytes, stage.requires, stage.provides) == (SECONDS, MAX_BYTES, (), ())
    assert (stage.proceeds, stage.policy, repr(stage)) == (False, None, "handshake(greet)")
    steps = stage(make_session())
    assert repr(next(steps)) == "Read(1)"


def test_a_lifted_function_has_the_facts_that_are_said() -> None:
    stage = trioedge.handshake(
        provides=("service",), requires=("source",), seconds=3, max_bytes=64, proceeds=True, policy=int
    )(greet)
    assert (stage.seconds, stage.max_bytes, stage.requires, stage.provides) == (3, 64, ("source",), ("service",))
    assert (stage.proceeds, stage.policy) == (True, int)
