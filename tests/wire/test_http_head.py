"""Heads of requests: what RFC 9112 permits is read, and what two readers could read differently is refused."""

import base64
from contextlib import suppress
from http import HTTPStatus

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.wire.errors import WireError
from trioedge.wire.http_head import HttpVersionError, agrees, read_basic, read_request, write_answer

CONNECT = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n"


def test_a_request_is_read_into_its_parts() -> None:
    head = read_request(
        CONNECT + b"User-Agent:curl/8 (x)\r\nX-Empty: \r\nACCEPT: \t */* \t\r\nx-empty: two  words\r\n\r\n"
    )
    assert (head.method, head.target, head.minor) == (b"CONNECT", b"a.example:443", 1)
    assert head.fields == (
        (b"host", b"a.example:443"), (b"user-agent", b"curl/8 (x)"), (b"x-empty", b""), (b"accept", b"*/*"),
        (b"x-empty", b"two  words"),
    )  # fmt: skip
    assert (head.field(b"x-empty"), head.field(b"cookie")) == (b"", None)


def test_http_1_0_needs_no_field() -> None:
    head = read_request(b"CONNECT a.example:443 HTTP/1.0\r\n\r\n")
    assert (head.minor, head.fields) == (0, ())


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nX: caf\xe9 \xff\r\n\r\n",
        b"X-!#$%&'*+.^_`|~9 * HTTP/1.0\r\n!#$%&'*+.^_`|~9: \"x\"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 99 + b"\r\n",
    ],
)
def test_unusual_heads_that_have_one_meaning_are_read(head: bytes) -> None:
    assert read_request(head).target in head


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" CONNECT a:1 HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1 ",
        b"CONNECT  a:1 HTTP/1.1",
        b"CONNECT a:1  HTTP/1.1",
        b"CONNECT\ta:1 HTTP/1.1",
        b"CONNECT a:1",
        b"CONNECT HTTP/1.1",
        b"CONNECT a:1 http/1.1",
        b"CONNECT a:1 HTTP/1",
        b"CONNECT a:1 HTTP/1.10",
        b"CONNECT a:1 HTTP/01.1",
        b"CONNECT a:1 ICY/1.1",
        b"CON(NECT a:1 HTTP/1.1",
        b"CONNECT a\x00:1 HTTP/1.1",
        b"CONNECT a\x7f:1 HTTP/1.1",
        b"CONNECT \xe9:1 HTTP/1.1",
        b"CONNECT a:1 b HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_a_first_line_of_another_form_is_refused(line: bytes) -> None:
    with pytest.raises(WireError, match="the first line is no request"):
        read_request(line + b"\r\nHost: a:1\r\n\r\n")


@pytest.mark.parametrize("version", [b"2.0", b"0.9", b"1.2", b"3.0"])
def test_another_version_of_http_is_refused_as_such(version: bytes) -> None:
    with pytest.raises(HttpVersionError):
        read_request(b"PRI * HTTP/" + version + b"\r\n\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"X : a", b"X\t: a", b" X: a", b"\tX: a", b": a", b"X", b"X\x00: a", b"X: a\x00b", b"X: a\x0bb", b"X: a\x7f",
        b"X: a\nY: b", b"X: a\n", b"X: a\rb", b"X: a\r", b"\nX: a", b"X:\n a", b"X(: a", b"X: a\x1f", b"\xe9: a",
        b"X;: a", b"X: a\r\n folded", b"X: a\r\n\tfolded", b"\"X\": a", b"X@: a", b"X\xa0: a",
    ],
)  # fmt: skip
def test_a_line_that_is_no_field_is_refused(line: bytes) -> None:
    for head in (CONNECT + line + b"\r\n\r\n", CONNECT + b"A: b\r\n" + line + b"\r\nC: d\r\n\r\n"):
        with pytest.raises(WireError, match="a line is no field"):
            read_request(head)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (b"Host: a.example:443\r\n", "more than one field host"),
        (b"HOST: other\r\n", "more than one field host"),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", "more than one field content-length"),
        (b"Content-Length: 5\r\ncontent-length: 6\r\n", "more than one field content-length"),
        (b"Content-Length: 5, 5\r\n", "content-length is no number"),
        (b"Content-Length: +5\r\n", "content-length is no number"),
        (b"Content-Length: -0\r\n", "content-length is no number"),
        (b"Content-Length: 0x5\r\n", "content-length is no number"),
        (b"Content-Length: 5_0\r\n", "content-length is no number"),
        (b"Content-Length:\r\n", "content-length is no number"),
        (b"Content-Length: 9999999999999999999\r\n", "content-length is no number"),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "both content-length and transfer-encoding"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "more than one field transfer-encoding"),
        (b"Transfer-Encoding: gzip, chunked\r\n", "a transfer-encoding other than chunked"),
        (b"Transfer-Encoding: identity\r\n", "a transfer-encoding other than chunked"),
        (b"Transfer-Encoding: xchunked\r\n", "a transfer-encoding other than chunked"),
        (b"Transfer-Encoding: chunked;q=1\r\n", "a transfer-encoding other than chunked"),
        (b"Transfer-Encoding:\r\n", "a transfer-encoding other than chunked"),
        (b"Proxy-Authorization: Basic YTpi\r\nproxy-authorization: Basic YTpi\r\n", "more than one field proxy-auth"),
        (b"Authorization: Basic YTpi\r\nauthorization: Basic YTpi\r\n", "more than one field authorization"),
        (b"A: b\r\n" * 100, "more than 100 fields"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        read_request(CONNECT + fields + b"\r\n")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", "without the field host"),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked of HTTP/1.1"),
        (b"\r\nCONNECT a:1 HTTP/1.0\r\n\r\n", "the first line is no request"),
        (b"CONNECT a:1 HTTP/1.0\r\n", "the head has no end"),
        (b"CONNECT a:1 HTTP/1.0\n\n", "the head has no end"),
        (b"", "the head has no end"),
    ],
)
def test_a_head_that_lacks_a_part_is_refused(head: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        read_request(head)


def test_a_refusal_quotes_nothing_of_the_client() -> None:
    for line in (b"SECRET", b"X: SECRET\x00", b"SECRET : x", b"Content-Length: SECRET", b"Transfer-Encoding: SECRET"):
        with pytest.raises(WireError) as caught:
            read_request(CONNECT + line + b"\r\n\r\n")
        assert "SECRET" not in str(caught.value)


pieces = st.sampled_from(
    [
        b"CONNECT", b"GET", b" ", b"  ", b"\t", b"a.example:443", b"/", b"*", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0",
        b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b":", b": ", b"Host", b"Host: a\r\n", b"Content-Length: 5\r\n",
        b"chunked", b"Transfer-Encoding: chunked\r\n", b"X", b"\x00", b"\xe9", b",", b"0",
    ]
)  # fmt: skip


@given(
    st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", CONNECT]),
    st.lists(pieces, max_size=12).map(b"".join),
    st.sampled_from([b"", b"\r\n", b"\r\n\r\n"]),
)
@examples(1_000)
def test_a_head_that_is_read_is_read_alike_by_h11(start: bytes, middle: bytes, end: bytes) -> None:
    data = start + middle + end
    head = data[: data.find(b"\r\n\r\n") + 4]  # as a stage takes it from the client's bytes
    try:
        found = read_request(head)
    except WireError:
        return
    oracle = h11.Connection(h11.SERVER)
    oracle.receive_data(head)
    event = oracle.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target, event.http_version) == (found.method, found.target, b"1.%d" % found.minor)
    assert [(bytes(name), bytes(value)) for name, value in event.headers] == list(found.fields)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_refused(data: bytes) -> None:
    for head in (data, data + b"\r\n\r\n", CONNECT + data + b"\r\n\r\n"):
        with suppress(WireError):  # no other exception
            assert read_request(head).target in head


@pytest.mark.parametrize(
    ("host", "same"),
    [
        (b"a.example:443", True), (b"A.EXAMPLE:443", True), (b"a.example", True), (b"a.example:80", False),
        (b"b.example:443", False), (b"a.example:", False), (b"", False), (b"a.example:443 ", False),
        (b"user@a.example:443", False),
    ],
)  # fmt: skip
def test_the_field_host_agrees_with_the_target_or_does_not(host: bytes, same: bool) -> None:
    assert agrees(host, b"a.Example:443") is same


def test_the_field_host_of_an_ipv6_target() -> None:
    assert agrees(b"[2001:db8::1]", b"[2001:db8::1]:443")
    assert not agrees(b"[2001:db8:", b"[2001:db8::1]:443")


def basic(text: bytes, scheme: bytes = b"Basic") -> bytes:
    return scheme + b" " + base64.b64encode(text)


@pytest.mark.parametrize(
    ("value", "login"),
    [
        (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", ("Aladdin", "open sesame")),  # RFC 7617 section 2
        (b"Basic dGVzdDoxMjPCow==", ("test", "123£")),  # section 2.1
        (basic(b"a:b:c"), ("a", "b:c")),
        (basic(b":b"), ("", "b")),
        (basic(b"a:"), ("a", "")),
        (basic(b"a:b", b"bASIC"), ("a", "b")),
        (b"Basic   YTpi", ("a", "b")),
        (basic(b"ab"), None),
        (basic(b"a:\xff"), None),
        (basic(b"a\0:b"), None),
        (basic(b"a:b\r\n"), None),
        (basic(b"a\x7f:b"), None),
        (basic(b"a:b", b"Bearer"), None),
        (basic(b"a:b", b"Negotiate"), None),
        (b"Basic YTpi!", None),
        (b"Basic YTp", None),
        (b"Basic YT pi", None),
        (b"Basic\tYTpi", None),
        (b"Basic \xff\xff\xff\xff", None),
        (b"Basic", None),
        (b"Basic ", None),
        (b"", None),
    ],
)
def test_user_and_password_of_basic_credentials(value: bytes, login: tuple[str, str] | None) -> None:
    assert read_basic(value) == login


def test_an_answer_has_a_sentence_and_says_that_the_connection_ends() -> None:
    answer = write_answer(HTTPStatus.METHOD_NOT_ALLOWED, "This proxy serves CONNECT alone.", ["Allow: CONNECT"])
    assert answer == (
        b"HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\nContent-Type: text/plain\r\nContent-Length: 33\r\n"
        b"Connection: close\r\n\r\nThis proxy serves CONNECT alone.\n"
    )
    oracle = h11.Connection(h11.CLIENT)
    oracle.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    oracle.send(h11.EndOfMessage())
    oracle.receive_data(answer)
    response, data, end = (oracle.next_event() for _ in range(3))
    assert isinstance(response, h11.Response)
    assert isinstance(data, h11.Data)
    assert (response.status_code, bytes(data.data)) == (405, b"This proxy serves CONNECT alone.\n")
    assert isinstance(end, h11.EndOfMessage)
