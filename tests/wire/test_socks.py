"""SOCKS requests and answers, byte by byte as RFC 1928, RFC 1929 and the memos on version 4 have them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.wire import socks
from trioedge.wire.socks import Reply, SocksError


def request_5(data: bytes) -> str:
    """Read a whole request of version 5 as a stage does: its head, then the bytes behind it."""
    head = data[: socks.HEAD_5_BYTES]
    rest = data[socks.HEAD_5_BYTES :]
    assert socks.bytes_behind(head) == len(rest)
    return str(socks.read_request_5(head, rest))


@pytest.mark.parametrize(
    ("data", "address"),
    [
        (b"\5\1\0\1\xc0\0\2\1\0\x50", "tcp://192.0.2.1:80"),
        (b"\5\1\0\3\x0bexample.com\1\xbb", "tcp://example.com:443"),
        (b"\5\1\0\3\t192.0.2.1\0\x50", "tcp://192.0.2.1:80"),
        (b"\5\1\0\3\x03::1\0\x50", "tcp://[::1]:80"),
        (b"\5\1\0\4" + bytes.fromhex("20010db8000000000000000000000001") + b"\xff\xff", "tcp://[2001:db8::1]:65535"),
        (b"\5\1\0\4" + bytes(10) + b"\xff\xff\x7f\0\0\1\0\x50", "tcp://127.0.0.1:80"),
        (b"\5\1\x07\1\xc0\0\2\1\0\x50", "tcp://192.0.2.1:80"),  # the reserved byte says nothing
    ],
)
def test_a_request_of_version_5_names_its_destination(data: bytes, address: str) -> None:
    assert request_5(data) == address


@pytest.mark.parametrize(
    ("data", "reply", "words"),
    [
        (b"\5\2\0\1\xc0\0\2\1\0\x50", Reply.NO_SUCH_COMMAND, "BIND is not supported, only CONNECT"),
        (b"\5\3\0\1\0\0\0\0\0\0", Reply.NO_SUCH_COMMAND, "UDP ASSOCIATE is not supported, only CONNECT"),
        (b"\5\xf0\0\1\xc0\0\2\1\0\x50", Reply.NO_SUCH_COMMAND, "command 240 is not supported, only CONNECT"),
        (b"\5\1\0\1\xc0\0\2\1\0\0", Reply.FAILURE, "port 0"),
        (b"\5\1\0\3\0\0\x50", Reply.FAILURE, "the host is neither a name nor an IP address"),
        (b"\5\1\0\3\3a\0b\0\x50", Reply.FAILURE, "the host is neither a name nor an IP address"),
        (b"\5\1\0\3\xff" + b"a" * 255 + b"\0\x50", Reply.FAILURE, "the host is neither a name nor an IP address"),
    ],
)
def test_a_request_of_version_5_that_cannot_be_served_says_which_code(data: bytes, reply: Reply, words: str) -> None:
    with pytest.raises(SocksError) as caught:
        request_5(data)
    assert (caught.value.reply, str(caught.value)) == (reply, words)


@pytest.mark.parametrize(
    ("head", "reply", "words"),
    [
        (b"\5\1\0\2x", Reply.NO_SUCH_ADDRESS_TYPE, "unknown kind of address: 2"),
        (b"\4\1\0\1x", Reply.FAILURE, "the request is of version 4, behind a greeting of version 5"),
    ],
)
def test_a_head_of_unknown_length_is_refused(head: bytes, reply: Reply, words: str) -> None:
    with pytest.raises(SocksError) as caught:
        socks.bytes_behind(head)
    assert (caught.value.reply, str(caught.value)) == (reply, words)


@pytest.mark.parametrize(
    ("head", "name", "named", "address"),
    [
        (b"\0\x50\xc0\0\2\1", b"", False, "tcp://192.0.2.1:80"),
        (b"\1\xbb\0\0\0\1", b"example.com", True, "tcp://example.com:443"),
        (b"\1\xbb\0\0\0\xff", b"192.0.2.7", True, "tcp://192.0.2.7:443"),
        (b"\0\x50\0\0\0\0", b"", False, "tcp://0.0.0.0:80"),
        (b"\0\x50\0\0\1\1", b"", False, "tcp://0.0.1.1:80"),
    ],
)
def test_a_request_of_version_4_names_its_destination(head: bytes, name: bytes, named: bool, address: str) -> None:
    assert socks.names_host(head) is named
    assert str(socks.read_request_4(1, head, name)) == address


@pytest.mark.parametrize(
    ("command", "head", "name"),
    [
        (2, b"\0\x50\xc0\0\2\1", b""),
        (0, b"\0\x50\xc0\0\2\1", b""),
        (1, b"\0\0\xc0\0\2\1", b""),
        (1, b"\0\x50\0\0\0\1", b""),
        (1, b"\0\x50\0\0\0\1", b"a b"),
    ],
)
def test_a_request_of_version_4_that_cannot_be_served_is_refused(command: int, head: bytes, name: bytes) -> None:
    with pytest.raises(SocksError):
        socks.read_request_4(command, head, name)


@given(st.binary(min_size=5, max_size=5), st.data())
def test_any_bytes_are_a_request_of_version_5_or_refused(head: bytes, data: st.DataObject) -> None:
    with suppress(SocksError):  # no other exception
        count = socks.bytes_behind(head)
        assert 2 <= count <= 257
        assert socks.read_request_5(head, data.draw(st.binary(min_size=count, max_size=count))).port


@given(st.integers(0, 255), st.binary(min_size=6, max_size=6), st.binary(max_size=255))
def test_any_bytes_are_a_request_of_version_4_or_refused(command: int, head: bytes, name: bytes) -> None:
    with suppress(SocksError):  # no other exception
        assert socks.read_request_4(command, head, name).port


def test_answers_have_the_bytes_of_the_specifications() -> None:
    assert socks.choice_of(socks.NO_LOGIN) == b"\5\0"
    assert socks.choice_of(socks.NO_METHOD) == b"\5\xff"
    assert (socks.login_answer(True), socks.login_answer(False)) == (b"\1\0", b"\1\1")
    assert socks.reply_5(Reply.SUCCEEDED) == b"\5\0\0\1\0\0\0\0\0\0"
    assert socks.reply_5(Reply.NO_SUCH_COMMAND) == b"\5\7\0\1\0\0\0\0\0\0"
    assert (socks.reply_4(True), socks.reply_4(False)) == (b"\0\x5a\0\0\0\0\0\0", b"\0\x5b\0\0\0\0\0\0")
