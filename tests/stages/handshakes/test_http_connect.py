"""The stage for CONNECT, without a socket: what each client reads, and what becomes of its session."""

import base64
from typing import Any

import pytest

import trioedge as te
from tests.support.told import talk
from trioedge.stages.handshakes.http_connect import ANSWERS, MAX_HEAD_BYTES
from trioedge.testing import check_handshake

LINE = b"CONNECT example.com:443 HTTP/1.1\r\n"
HEAD = LINE + b"Host: example.com:443\r\n"
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def alice(session: te.Session, user: str, password: str) -> bool:
    return (user, password) == ("alice", "secret")


def login(text: bytes) -> bytes:
    return b"Proxy-Authorization: Basic " + base64.b64encode(text) + b"\r\n"


def status_of(answer: bytes) -> int:
    """Check that an answer is whole, and give its status."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: %d\r\nConnection: close" % len(body) in head
    assert body.endswith(b".\n")
    return int(head.split()[1])


@pytest.mark.parametrize(
    ("said", "destination"),
    [
        (HEAD, "tcp://example.com:443"),
        (LINE + b"host: EXAMPLE.com\r\nContent-Length: 0\r\n", "tcp://example.com:443"),
        (b"CONNECT 192.0.2.1:1 HTTP/1.0\r\n", "tcp://192.0.2.1:1"),
        (b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n", "tcp://[2001:db8::1]:443"),
        (HEAD + login(b"ignored:login"), "tcp://example.com:443"),
    ],
)
def test_a_good_request_leads_to_its_destination_and_leaves_what_follows(said: bytes, destination: str) -> None:
    found = talk(te.HttpConnect(), said + b"\r\nearly")
    assert (found.sent, found.verdict, found.left) == (CONNECTED, te.CONTINUE, b"early")
    assert found.session.destination == destination


@pytest.mark.parametrize(
    ("said", "status", "detail"),
    [
        (b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", 405, "another method than CONNECT"),
        (b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 405, "another method than CONNECT"),
        (b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n", 405, "another method than CONNECT"),
        (b"connect example.com:443 HTTP/1.0\r\n\r\n", 405, "another method than CONNECT"),
        (b"CONNECT /path HTTP/1.0\r\n\r\n", 400, "the target is not host:port"),
        (b"CONNECT http://example.com:80 HTTP/1.0\r\n\r\n", 400, "the target is not host:port"),
        (b"CONNECT example.com HTTP/1.0\r\n\r\n", 400, "the target is not host:port"),
        (b"CONNECT user@example.com:443 HTTP/1.0\r\n\r\n", 400, "the host is neither a name nor an IP address"),
        (b"CONNECT a..b:443 HTTP/1.0\r\n\r\n", 400, "the host is neither a name nor an IP address"),
        (LINE + b"\r\n", 400, "HTTP/1.1 without the field host"),
        (LINE + b"Host: other.example:443\r\n\r\n", 400, "the field host names another destination"),
        (LINE + b"Host: example.com:80\r\n\r\n", 400, "the field host names another destination"),
        (HEAD + b"Content-Length: 5\r\n\r\nhello", 400, "CONNECT with a body"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", 400, "CONNECT with a body"),
        (HEAD + b"X: a\nY: b\r\n\r\n", 400, "a line is no field of HTTP/1"),
        (HEAD + b"X : a\r\n\r\n", 400, "a line is no field of HTTP/1"),
        (b"PRI * HTTP/2.0\r\n\r\n", 505, "neither HTTP/1.0 nor HTTP/1.1"),
        (b"\x16\3\1\2\0\1\0\1\xfc\3\3", 400, "the first byte is of no method"),
        (b"\r\nCONNECT example.com:443 HTTP/1.0\r\n\r\n", 400, "the first byte is of no method"),
        (b"hello\r\n\r\n", 400, "the first line is no request of HTTP/1"),
    ],
)
@pytest.mark.parametrize("auth", [None, alice])
def test_another_request_is_refused_with_a_status_and_a_sentence(
    said: bytes, status: int, detail: str, auth: Any
) -> None:
    found = talk(te.HttpConnect(auth), said)
    assert (status_of(found.sent), found.session.destination) == (status, None)
    assert found.verdict == te.Reject(te.Reason.PROTOCOL, f"HTTP: {detail}")


def test_it_does_the_same_however_the_bytes_of_its_client_arrive() -> None:
    messages = [
        HEAD + b"\r\n", b"CONNECT 192.0.2.1:1 HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", LINE + b"\r\n", b"\x16",
        b"PRI * HTTP/2.0\r\n\r\n", HEAD + b"X: a\nY: b\r\n\r\n",
    ]  # fmt: skip
    for outcome in (None, te.Reject(te.Reason.UPSTREAM_REFUSED), te.Completed(te.Reason.EVICTED)):
        check_handshake(te.HttpConnect(), messages, connected=outcome)
    logins = [HEAD + field + b"\r\n" for field in (b"", login(b"alice:secret"), login(b"alice:wrong"))]
    check_handshake(te.HttpConnect(alice), logins)


def test_the_method_that_is_allowed_is_named() -> None:
    assert b"\r\nAllow: CONNECT\r\n" in talk(te.HttpConnect(), b"GET / HTTP/1.0\r\n\r\n").sent


def test_a_head_without_an_end_is_bounded() -> None:
    for said in (HEAD + b"X: " + b"x" * MAX_HEAD_BYTES, b"C" * (MAX_HEAD_BYTES + 1)):
        found = talk(te.HttpConnect(), said)
        assert found.sent == b""
        assert isinstance(found.verdict, te.Reject)
        assert found.verdict.reason is te.Reason.PROTOCOL
    longest = HEAD + b"X: " + b"x" * (MAX_HEAD_BYTES - len(HEAD) - 7) + b"\r\n\r\n"
    assert len(longest) == MAX_HEAD_BYTES
    assert talk(te.HttpConnect(), longest).verdict is te.CONTINUE


def test_a_right_login_goes_on() -> None:
    found = talk(te.HttpConnect(alice), HEAD + login(b"alice:secret") + b"\r\nearly")
    assert (found.sent, found.verdict, found.left) == (CONNECTED, te.CONTINUE, b"early")


@pytest.mark.parametrize(
    ("field", "detail"),
    [
        (b"", "HTTP: no login of the scheme Basic"),
        (b"Proxy-Authorization: Bearer YWxpY2U6c2VjcmV0\r\n", "HTTP: no login of the scheme Basic"),
        (b"Proxy-Authorization: Basic !\r\n", "HTTP: no login of the scheme Basic"),
        (b"Proxy-Authorization:\r\n", "HTTP: no login of the scheme Basic"),
        (b"Authorization: Basic YWxpY2U6c2VjcmV0\r\n", "HTTP: no login of the scheme Basic"),
        (login(b"alice:wrong"), "unknown user or wrong password"),
        (login(b"bob:secret"), "unknown user or wrong password"),
        (login(b":"), "unknown user or wrong password"),
    ],
)
def test_a_client_without_a_right_login_is_asked_for_one(field: bytes, detail: str) -> None:
    found = talk(te.HttpConnect(alice), HEAD + field + b"\r\n")
    assert status_of(found.sent) == 407
    assert b'\r\nProxy-Authenticate: Basic realm="proxy", charset="UTF-8"\r\n' in found.sent
    assert found.verdict == te.Reject(te.Reason.CREDENTIALS, detail)
    assert found.session.destination is None


@pytest.mark.parametrize(
    ("reason", "status"), [(te.Reason.RATE, 503), (te.Reason.POLICY, 403), (te.Reason.CREDENTIALS, 407)]
)
def test_a_refusal_of_the_function_is_the_sessions_and_has_the_status_of_its_reason(
    reason: te.Reason, status: int
) -> None:
    locked = te.Reject(reason, "locked")
    found = talk(te.HttpConnect(lambda session, user, password: locked), HEAD + login(b"alice:secret") + b"\r\n")
    assert (status_of(found.sent), found.verdict) == (status, locked)


def test_an_async_function_is_asked_in_the_background() -> None:
    async def known(session: te.Session, user: str, password: str) -> bool:
        raise NotImplementedError

    found = talk(te.HttpConnect(known), HEAD + login(b"alice:secret") + b"\r\n", found=True)
    assert [(each.function, each.args) for each in found.asked] == [(known, (found.session, "alice", "secret"))]
    assert (found.sent, found.verdict) == (CONNECTED, te.CONTINUE)


@pytest.mark.parametrize("kind", [te.Reject, te.Completed])
@pytest.mark.parametrize("reason", te.Reason)
def test_the_client_reads_how_its_connect_ended(reason: te.Reason, kind: Any) -> None:
    sent = talk(te.HttpConnect(), HEAD + b"\r\n", kind(reason)).sent
    assert status_of(sent) in (403, 502, 503, 504)
    assert (reason in ANSWERS) == (status_of(sent) != 503)


def test_each_reason_has_the_status_that_says_it() -> None:
    statuses = {
        403: "source service device policy credentials destination quota expired upstream_forbidden",
        502: "upstream_refused upstream_unreachable upstream_unresolved",
        504: "upstream_timeout",
    }
    expected = {reason: status for status, reasons in statuses.items() for reason in reasons.split()}
    assert {reason: status_of(answer) for reason, answer in ANSWERS.items()} == expected


def test_a_recipe_says_what_it_is_and_does_not_change() -> None:
    stage = te.HttpConnect("services", seconds=3)
    assert (stage.proceeds, stage.provides, stage.needs_control) == (True, ("service", "destination"), True)
    assert (te.HttpConnect().provides, te.HttpConnect().needs_control) == (("destination",), False)
    assert (stage.seconds, te.HttpConnect().seconds) == (3, 10)
    assert (repr(stage), repr(te.HttpConnect(alice))) == ("HttpConnect(auth='services')", "HttpConnect(auth='alice')")
    with pytest.raises(AttributeError, match="make another one"):
        stage.auth = alice


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"auth": ("alice", "secret")}, r"must be None, 'services' or a function"),
        ({"seconds": -1}, r"HttpConnect\(seconds=-1\) must be a number above 0"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(te.ConfigurationError, match=words):
        te.HttpConnect(**arguments)
