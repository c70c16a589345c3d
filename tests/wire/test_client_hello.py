"""The reader of hellos: every way of cutting them, every fault, and the same names as OpenSSL finds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.hellos import (
    body,
    client_hello,
    extension,
    listed,
    message,
    name_extension,
    openssl_reads,
    protocols_extension,
    read_client_hello,
    records,
)
from trioedge.wire.client_hello import (
    DECODE_ERROR,
    MAX_BYTES,
    UNRECOGNIZED_NAME,
    ClientHello,
    HelloError,
    HelloReader,
    fatal_alert,
)
from trioedge.wire.errors import WireError

GREASE = extension(0x1A1A, b"\0")
NAMED = ClientHello("shop.example", ())


def hello(*extensions: bytes, **parts: bytes) -> bytes:
    return records(message(body(*extensions, **parts)))


def read_in_steps(sent: bytes) -> tuple[ClientHello, int]:
    """Read as a caller with a socket does: as many bytes as it is told, until there is a hello. Count its calls."""
    have, calls, reader = 1, 1, HelloReader()
    while isinstance(found := reader.read(sent[:have]), int):
        assert have < found <= len(sent), "the number is above what there is, and no more than will come"
        have, calls = found, calls + 1
    return found, calls


# Good hellos.


def test_a_hello_of_openssl_has_its_name_and_its_protocols() -> None:
    sent = client_hello("shop.example", ["h2", "http/1.1"])
    assert read_client_hello(sent) == ClientHello("shop.example", (b"h2", b"http/1.1"))
    assert read_in_steps(sent) == (ClientHello("shop.example", (b"h2", b"http/1.1")), 3)


def test_a_hello_without_a_name_or_without_any_extension_has_none() -> None:
    nothing = ClientHello(None, ())
    assert read_client_hello(client_hello(None)) == nothing
    assert read_client_hello(hello()) == nothing
    assert read_client_hello(records(message(body()[:-2]))) == nothing, "a client older than extensions"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (b"shop.example", "shop.example"),
        (b"Shop.EXAMPLE", "shop.example"),
        (b"shop.example.", "shop.example"),
        (b"localhost", "localhost"),
        (b"_dmarc.a_b.example", "_dmarc.a_b.example"),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        (b"1.example", "1.example"),
        (b"a" * 63 + b".example", "a" * 63 + ".example"),
        (b".".join([b"a" * 61] * 4) + b".abcde", ".".join(["a" * 61] * 4) + ".abcde"),
    ],
)
def test_a_name_is_read_in_lower_case_and_without_a_dot_at_its_end(name: bytes, read: str) -> None:
    assert read_client_hello(hello(GREASE, name_extension(name), GREASE)) == ClientHello(read, ())


def test_protocols_are_read_in_their_order_and_may_have_any_bytes() -> None:
    offered = protocols_extension(b"\x0a\x0a", b"h2", b"\xff" * 255)
    assert read_client_hello(hello(offered)) == ClientHello(None, (b"\x0a\x0a", b"h2", b"\xff" * 255))


def test_bytes_behind_the_hello_are_not_looked_at() -> None:
    sent = hello(name_extension(b"shop.example"))
    assert read_client_hello(sent + b"\x14\3\3\0\1\1") == NAMED
    assert read_client_hello(sent + b"GET /") == NAMED


def test_a_session_id_and_other_versions_are_no_fault() -> None:
    sent = hello(name_extension(b"shop.example"), session_id=bytes(32), suites=b"\x13\x01" * 200, compressions=b"\1\0")
    for version in (b"\3\0", b"\3\1", b"\3\3", b"\3\4"):
        assert read_client_hello(b"\x16" + version + sent[3:]) == NAMED


# Any cut.


@given(st.lists(st.integers(1, 600), min_size=1, max_size=8), st.integers(0, 300))
def test_a_hello_in_records_of_any_sizes_reads_the_same_in_few_steps(sizes: list[int], padding: int) -> None:
    whole = message(body(extension(21, bytes(padding)), name_extension(b"shop.example")))
    found, calls = read_in_steps(records(whole, sizes))
    assert found == NAMED
    assert calls <= 40


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.sets(st.integers(0, 300)),
    st.binary(max_size=3),
    st.integers(0, 120),
)
def test_a_reader_that_is_asked_in_between_finds_what_one_finds_at_once(
    sizes: list[int], stops: set[int], wrong: bytes, place: int
) -> None:
    sent = records(message(body(name_extension(b"shop.example"), protocols_extension(b"h2"))), sizes)
    sent = sent[:place] + wrong + sent[place + len(wrong) :]
    try:
        at_once = read_client_hello(sent)
    except HelloError:
        at_once = 0
    reader, found = HelloReader(), None
    try:
        for have in sorted({stop for stop in stops if stop < len(sent)} | {len(sent)}):
            found = reader.read(sent[:have])
            if isinstance(found, ClientHello):
                break
    except HelloError:
        found = 0
    assert found == at_once


@pytest.mark.parametrize("sizes", [(16_384,), (1,), (3, 1), (4,), (5, 500)])
def test_every_prefix_of_a_hello_tells_a_number_of_bytes_that_will_come(sizes: tuple[int, ...]) -> None:
    sent = records(message(body(name_extension(b"shop.example"), protocols_extension(b"h2"))), sizes)
    for have in range(len(sent)):
        found = read_client_hello(sent[:have])
        assert isinstance(found, int), found
        assert have < found <= len(sent)
    assert read_client_hello(sent) == ClientHello("shop.example", (b"h2",))


def test_a_hello_of_16_kib_in_records_of_one_byte_is_read_in_some_fifty_steps() -> None:
    padding = MAX_BYTES // 6 - 4 - len(body(name_extension(b"shop.example"), extension(21, b"")))
    sent = records(message(body(name_extension(b"shop.example"), extension(21, bytes(padding)))), [1])
    assert MAX_BYTES - 6 < len(sent) <= MAX_BYTES
    found, calls = read_in_steps(sent)
    assert found == NAMED
    assert calls <= 50


def test_the_number_for_one_record_is_all_of_it() -> None:
    sent = hello(name_extension(b"shop.example"))
    assert read_client_hello(b"") == 9, "the headers of a record and of a message"
    assert read_client_hello(sent[:4]) == 9
    assert read_client_hello(sent[:5]) == read_client_hello(sent[:-1]) == len(sent)


# Faults.


def fault(sent: bytes) -> tuple[str, int | None]:
    with pytest.raises(HelloError) as refusal:
        read_client_hello(sent)
    assert isinstance(refusal.value, WireError)
    return str(refusal.value), refusal.value.alert


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\5\1\0",
        b"\0",
        b"\x16\2\0",  # the number of a version of TLS begins with 3
        b"\x16GET",
        b"\x80\x2e\1\3\1\0\x15\0\0\0\x10",  # SSLv2, whose hello has a header of its own
        b"\x17\3\3\0\1a",
    ],
)
def test_bytes_that_are_not_tls_are_refused_without_an_alert_from_their_first_bytes_on(sent: bytes) -> None:
    assert fault(sent) == fault(sent[:2]) == ("the bytes are not TLS", None)


def test_an_alert_is_refused_without_an_alert() -> None:
    assert fault(b"\x15\3\1\0\2\2\x28") == fault(b"\x15") == ("it begins with an alert", None)


WHOLE = message(body(name_extension(b"shop.example")))
TOO_LONG = f"it has more than {MAX_BYTES:,} bytes"


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (b"\x16\3\1\0\0", "it has an empty record"),
        (records(WHOLE[:20]) + b"\x16\3\1\0\0", "it has an empty record"),
        (records(message(b"", kind=2)), "another message comes first"),
        (b"\x16\3\1\0\x50\2", "another message comes first"),
        (records(WHOLE[:20]) + b"\x15\3\1\0\2\1\0", "a record of another type comes before its end"),
        (records(WHOLE[:20]) + b"\x16\2", "a record of another type comes before its end"),
        (records(WHOLE + b"\1"), "bytes follow it in its last record"),
        (records(WHOLE[:20]) + records(WHOLE[20:] + b"\1"), "bytes follow it in its last record"),
        (b"\x16\3\1\x02\0\1\0\0\x50", "bytes follow it in its last record"),
        (b"\x16\3\1\xff\xff", TOO_LONG),
        (b"\x16\3\1\x02\0\1\xff\xff\xff", TOO_LONG),
        (records(message(body(extension(21, bytes(16_384))))), TOO_LONG),
        (records(message(body(extension(21, bytes(16_300))))[:16_384], [100]), TOO_LONG),
        (records(message(b"")), "it is shorter than its lengths say"),
        (records(message(body()[:-4])), "it is shorter than its lengths say"),
        (hello(session_id=bytes(33)), "its session id is too long"),
        (hello(suites=b""), "its cipher suites are no list"),
        (hello(suites=b"\x13\1\0"), "its cipher suites are no list"),
        (hello(compressions=b""), "it has no compression method"),
        (records(message(body()[:-1])), "it is shorter than its lengths say"),
        (records(message(body() + b"\0")), "its extensions are longer or shorter than it"),
        (records(message(body()[:-2] + b"\0\4\0\0\0")), "its extensions are longer or shorter than it"),
        (hello(b"\0\1"), "it is shorter than its lengths say"),
        (hello(b"\0\x17\0\1"), "it is shorter than its lengths say"),
        (hello(name_extension(b"a.example"), name_extension(b"a.example")), "it has two lists of server names"),
        (hello(protocols_extension(b"h2"), protocols_extension(b"h2")), "it has two lists of protocols"),
    ],
)
def test_a_hello_with_a_fault_is_refused_with_an_alert(sent: bytes, detail: str) -> None:
    assert fault(sent) == (detail, DECODE_ERROR)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"\0\0", b"\0\1\0", b"\0\0\0\0\0", listed(b"\0"), listed(b"\1" + listed(b"shop.example")),
        listed(b"\0" + listed(b"a.example"), b"\0" + listed(b"b.example")),
        listed(b"\0" + listed(b"a.example")) + b"\0",
        listed(b"\0" + listed(b"a.example") + b"\0"), listed(b"\0" + listed(b"a.example"))[:-1],
    ],
)  # fmt: skip
def test_a_list_of_server_names_is_one_host_name_with_right_lengths(data: bytes) -> None:
    details = ("its server names are no list of one host name", "it is shorter than its lengths say")
    detail, alert = fault(hello(extension(0, data)))
    assert detail in details
    assert alert == DECODE_ERROR


@pytest.mark.parametrize(
    "name",
    [
        b"", b".", b"..", b".example", b"a..example", b"a.example..", b"192.0.2.7", b"192.0.2.7.", b"2001:db8::1",
        b"[::1]", b"a\0.example", b"a.example\0", b"b\xc3\xbccher.example", b"\xff", b"a b", b"a\n",
        b"a.example\n", b"*.example",
        b"-a.example", b"a-.example", b"a" * 64, b"a." * 126 + b"aa", b"a/b", b"a:443",
    ],
)  # fmt: skip
def test_a_name_that_is_no_host_name_is_refused_with_an_alert_of_its_own(name: bytes) -> None:
    assert fault(hello(name_extension(name))) == ("its server name is no host name", UNRECOGNIZED_NAME)


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\0\1\0", b"\0\2\2h", b"\0\3\2h2\0", b"\0\4\2h2\0", b"\0\5\1a\2b"])
def test_a_list_of_protocols_has_right_lengths_and_no_empty_name(data: bytes) -> None:
    detail, alert = fault(hello(extension(16, data)))
    assert detail in ("its protocols are no list", "it is shorter than its lengths say")
    assert alert == DECODE_ERROR


# OpenSSL as the judge.


NAMES = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{1,10}){1,4}\Z")


@settings(max_examples=60, deadline=None)
@given(NAMES, st.lists(st.integers(1, 400), min_size=1, max_size=4))
def test_openssl_finds_the_same_name_however_the_hello_is_cut(name: str, sizes: list[int]) -> None:
    sent = records(client_hello(name, ["h2"])[5:], sizes)
    assert read_client_hello(sent) == ClientHello(name, (b"h2",))
    assert openssl_reads(sent) == [name]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_where_openssl_finds_a_name_in_a_broken_hello_it_is_the_same_one(data: st.DataObject) -> None:
    sent = bytearray(client_hello("shop.example", ["h2", "http/1.1"]))
    for _ in range(data.draw(st.integers(1, 3))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_client_hello(bytes(sent))
    except HelloError:
        return
    by_openssl = openssl_reads(bytes(sent))
    if isinstance(found, ClientHello) and by_openssl:
        expected = [name.lower().removesuffix(".") if name else None for name in by_openssl]  # as a name is read
        assert [found.server_name] == expected


@settings(max_examples=500)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_at_all_raise_anything_else(sent: bytes, begins_well: bool) -> None:
    try:
        found = read_client_hello(records(message(sent)) if begins_well else sent)
    except HelloError:
        return
    assert isinstance(found, ClientHello) or found > len(sent)


def test_an_alert_is_a_record_of_seven_bytes() -> None:
    assert fatal_alert(UNRECOGNIZED_NAME) == b"\x15\3\1\0\2\2\x70"
