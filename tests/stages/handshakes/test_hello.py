import pytest

import trioedge as te
from tests.support.hellos import client_hello
from trioedge.session.handshake import Peek, Send
from trioedge.stages.handshakes.hello import peek_hello, refuse_hello
from trioedge.testing import make_session
from trioedge.wire.client_hello import ClientHello


def test_the_hello_is_peeked_at_with_as_many_bytes_as_it_says() -> None:
    session, sent = make_session(), client_hello("a.example")
    script = peek_hello(session)
    for had in (0, 1, 5):
        command = script.send(sent[:had] or None)
        assert isinstance(command, Peek)
        assert (command.count, command.seconds) == ({0: 1, 1: 9, 5: len(sent)}[had], None)
    with pytest.raises(StopIteration) as ended:
        script.send(sent)
    assert ended.value.value == session.state[ClientHello] == ClientHello("a.example", ())


def test_the_alert_of_a_refusal_follows_from_its_reason() -> None:
    for name, reason, alert in (
        ("a.example", te.Reason.SERVICE, 112),
        (None, te.Reason.SERVICE, 109),
        ("a.example", te.Reason.CONCURRENCY, 40),
    ):
        refusal = te.Reject(reason)
        script = refuse_hello(ClientHello(name, ()), refusal)
        command = next(script)
        assert isinstance(command, Send)
        assert command.data == b"\x15\3\1\0\2\2" + bytes([alert])
        with pytest.raises(StopIteration) as ended:
            next(script)
        assert ended.value.value is refusal
