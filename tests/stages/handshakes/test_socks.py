"""The SOCKS stage, without a socket: what each client hears, and what becomes of its session."""

from typing import Any

import pytest

import trioedge as te
from tests.support.told import talk
from trioedge.stages.handshakes.socks import REPLIES
from trioedge.testing import check_handshake
from trioedge.wire.socks import Reply

NAME = b"\5\1\0\3\x0bexample.com\1\xbb"
IPV4 = b"\5\1\0\1\xc0\0\2\1\0\x50"
IPV6 = b"\5\1\0\4" + bytes.fromhex("20010db8000000000000000000000001") + b"\0\x50"
OPEN = b"\5\1\0"
LOGIN = b"\5\2\0\2\1\5alice\6secret"
GRANTED_5 = b"\5\0\0\1\0\0\0\0\0\0"
GRANTED_4, REJECTED_4 = b"\0\x5a\0\0\0\0\0\0", b"\0\x5b\0\0\0\0\0\0"


def alice(session: te.Session, user: str, password: str) -> bool:
    return (user, password) == ("alice", "secret")


def refused_5(code: int) -> bytes:
    return b"\5\0" + bytes((5, code, 0, 1)) + bytes(6)


@pytest.mark.parametrize(
    ("said", "sent", "destination"),
    [
        (OPEN + NAME, b"\5\0" + GRANTED_5, "tcp://example.com:443"),
        (OPEN + IPV4, b"\5\0" + GRANTED_5, "tcp://192.0.2.1:80"),
        (OPEN + IPV6, b"\5\0" + GRANTED_5, "tcp://[2001:db8::1]:80"),
        (b"\5\3\2\1\0" + IPV4, b"\5\0" + GRANTED_5, "tcp://192.0.2.1:80"),
        (b"\5\xff" + bytes(range(255)) + IPV4, b"\5\0" + GRANTED_5, "tcp://192.0.2.1:80"),
        (b"\4\1\0\x50\xc0\0\2\1\0", GRANTED_4, "tcp://192.0.2.1:80"),
        (b"\4\1\0\x50\xc0\0\2\1user\0", GRANTED_4, "tcp://192.0.2.1:80"),
        (b"\4\1\1\xbb\0\0\0\1user\0example.com\0", GRANTED_4, "tcp://example.com:443"),
    ],
)
@pytest.mark.parametrize("answer", ["after_connect", "at_once"])
def test_a_good_request_leads_to_its_destination_and_leaves_what_follows(
    said: bytes, sent: bytes, destination: str, answer: Any
) -> None:
    found = talk(te.Socks(answer=answer), said + b"early")
    assert (found.sent, found.verdict, found.left) == (sent, te.CONTINUE, b"early")
    assert found.session.destination == destination


@pytest.mark.parametrize(
    ("said", "sent", "reason", "detail"),
    [
        (b"\5\0", b"\5\xff", "credentials", "SOCKS 5: no method of the client's is accepted"),
        (b"\5\1\1", b"\5\xff", "credentials", "SOCKS 5: no method of the client's is accepted"),
        (b"\5\2\1\2", b"\5\xff", "credentials", "SOCKS 5: no method of the client's is accepted"),
        (OPEN + b"\5\2\0\1" + bytes(6), refused_5(7), "protocol", "SOCKS 5: BIND is not supported, only CONNECT"),
        (OPEN + b"\5\3\0\3\1a\0\0", refused_5(7), "protocol", "SOCKS 5: UDP ASSOCIATE is not supported, only CONNECT"),
        (OPEN + b"\5\1\0\2\0", refused_5(8), "protocol", "SOCKS 5: unknown kind of address: 2"),
        (OPEN + b"\5\1\0\1\xc0\0\2\1\0\0", refused_5(1), "protocol", "SOCKS 5: port 0"),
        (OPEN + b"\5\1\0\3\3a b\0\x50", refused_5(1), "protocol",
         "SOCKS 5: the host is neither a name nor an IP address"),
        (b"\4\2\0\x50\xc0\0\2\1\0", REJECTED_4, "protocol", "SOCKS 4: BIND is not supported, only CONNECT"),
        (b"\4\1\0\x50\0\0\0\1\0a b\0", REJECTED_4, "protocol", "SOCKS 4: the host is neither a name nor an IP address"),
        (b"GET / HTTP/1.1\r\n", b"", "protocol", "neither SOCKS 4 nor SOCKS 5"),
        (b"\x16\3\1", b"", "protocol", "neither SOCKS 4 nor SOCKS 5"),
        (b"\4\1\0\x50\xc0\0\2\1" + b"u" * 300, b"", "protocol", None),
        (b"\4\1\0\x50\0\0\0\1\0" + b"n" * 300, b"", "protocol", None),
    ],
)  # fmt: skip
def test_another_request_is_refused_in_the_words_of_its_version(
    said: bytes, sent: bytes, reason: str, detail: str | None
) -> None:
    found = talk(te.Socks(), said)
    assert (found.sent, found.session.destination) == (sent, None)
    assert isinstance(found.verdict, te.Reject)
    assert found.verdict.reason == reason
    assert detail in (None, found.verdict.detail)


def test_it_does_the_same_however_the_bytes_of_its_client_arrive() -> None:
    messages = [
        OPEN + NAME, OPEN + IPV4, OPEN + IPV6, b"\5\3\1\2\0" + NAME, b"\4\1\0\x50\xc0\0\2\1user\0",
        b"\4\1\1\xbb\0\0\0\1user\0example.com\0", b"\5\0", b"\5\2\1\2", b"\6\1", OPEN + b"\5\1\0\2\0",
        OPEN + b"\5\3\0\3\1a\0\0", b"\4\2\0\x50\xc0\0\2\1\0",
    ]  # fmt: skip
    for outcome in (None, te.Reject(te.Reason.UPSTREAM_REFUSED), te.Completed(te.Reason.EVICTED)):
        check_handshake(te.Socks(), messages, connected=outcome)
    check_handshake(te.Socks(answer="at_once"), messages)
    logins = [LOGIN + NAME, LOGIN + IPV6, b"\5\1\2\1\3bob\5wrong", b"\5\1\2\1\0\0", b"\5\1\2\2\0", OPEN]
    check_handshake(te.Socks(alice), logins)


def test_a_right_login_is_told_so_and_goes_on() -> None:
    found = talk(te.Socks(alice), LOGIN + NAME + b"early")
    assert (found.sent, found.verdict, found.left) == (b"\5\2\1\0" + GRANTED_5, te.CONTINUE, b"early")


@pytest.mark.parametrize(
    ("said", "sent", "detail"),
    [
        (b"\5\1\2\1\5alice\5wrong", b"\5\2\1\1", "unknown user or wrong password"),
        (b"\5\1\2\1\3bob\6secret", b"\5\2\1\1", "unknown user or wrong password"),
        (b"\5\1\2\1\0\0", b"\5\2\1\1", "unknown user or wrong password"),
        (b"\5\1\2\1\xff" + b"\xfe" * 255 + b"\xff" + b"\xfd" * 255, b"\5\2\1\1", "unknown user or wrong password"),
        (OPEN, b"\5\xff", "SOCKS 5: no method of the client's is accepted"),
        (b"\5\2\0\1", b"\5\xff", "SOCKS 5: no method of the client's is accepted"),
        (b"\4\1\0\x50\xc0\0\2\1alice\0", REJECTED_4, "SOCKS 4 has no password"),
        (b"\4\1\0\x50\0\0\0\1alice\0example.com\0", REJECTED_4, "SOCKS 4 has no password"),
    ],
)
def test_a_client_without_a_right_login_is_refused(said: bytes, sent: bytes, detail: str) -> None:
    found = talk(te.Socks(alice), said)
    assert (found.sent, found.verdict) == (sent, te.Reject(te.Reason.CREDENTIALS, detail))
    assert found.session.destination is None


def test_a_login_of_another_form_is_refused_without_a_word() -> None:
    found = talk(te.Socks(alice), b"\5\1\2\5\5alice\6secret")
    assert found.sent == b"\5\2"
    assert found.verdict == te.Reject(te.Reason.PROTOCOL, "SOCKS 5: user and password are not of RFC 1929")


def test_a_refusal_of_the_function_is_the_sessions_and_the_client_hears_of_a_failure() -> None:
    locked = te.Reject(te.Reason.RATE, "locked")
    found = talk(te.Socks(lambda session, user, password: locked), LOGIN)
    assert (found.sent, found.verdict) == (b"\5\2\1\1", locked)


def test_an_async_function_is_asked_in_the_background() -> None:
    async def known(session: te.Session, user: str, password: str) -> bool:
        raise NotImplementedError

    found = talk(te.Socks(known), LOGIN + NAME, found=True)
    assert [(each.function, each.args) for each in found.asked] == [(known, (found.session, "alice", "secret"))]
    assert (found.sent, found.verdict) == (b"\5\2\1\0" + GRANTED_5, te.CONTINUE)


@pytest.mark.parametrize("kind", [te.Reject, te.Completed])
@pytest.mark.parametrize("reason", te.Reason)
def test_the_client_hears_how_its_connect_ended(reason: te.Reason, kind: Any) -> None:
    assert talk(te.Socks(), OPEN + NAME, kind(reason)).sent == refused_5(REPLIES.get(reason, 1))
    assert talk(te.Socks(), b"\4\1\0\x50\xc0\0\2\1\0", kind(reason)).sent == REJECTED_4


def test_each_reason_has_the_code_that_says_it() -> None:
    codes = {
        Reply.NOT_ALLOWED: (
            "rate source concurrency service device policy credentials destination quota expired upstream_forbidden"
        ),
        Reply.HOST_UNREACHABLE: "upstream_unreachable upstream_unresolved",
        Reply.REFUSED: "upstream_refused",
        Reply.EXPIRED: "upstream_timeout",
    }
    assert {reason: code for code, reasons in codes.items() for reason in reasons.split()} == REPLIES


def test_only_the_truthful_answer_keeps_other_handshakes_from_following() -> None:
    later, at_once = te.Socks(), te.Socks("services", answer="at_once", seconds=3)
    assert (later.proceeds, later.provides, later.needs_control) == (True, ("destination",), False)
    assert (at_once.proceeds, at_once.provides, at_once.needs_control) == (False, ("service", "destination"), True)
    assert (later.seconds, at_once.seconds) == (10, 3)


def test_a_recipe_says_what_it_is_and_does_not_change() -> None:
    assert repr(te.Socks()) == "Socks(auth=None, answer='after_connect')"
    assert repr(te.Socks(alice, answer="at_once")) == "Socks(auth='alice', answer='at_once')"
    with pytest.raises(AttributeError, match="make another one"):
        te.Socks().auth = alice


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"auth": "users"}, r"Socks\(auth='users'\) must be None, 'services' or a function"),
        ({"answer": "now"}, r"Socks\(answer='now'\) must be 'after_connect' or 'at_once'"),
        ({"seconds": 0}, r"Socks\(seconds=0\) must be a number above 0"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(te.ConfigurationError, match=words):
        te.Socks(**arguments)
