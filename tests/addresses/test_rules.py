import gc
import ipaddress
import random
import socket
from collections.abc import Iterator
from time import thread_time
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.addresses import rules as source_rules
from trioedge.addresses.rules import LONG_TABLE, Rule, SourceRules, compile_rules
from trioedge.errors import MAX_FAULTS, ConfigurationError, RulesError

IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Entry: TypeAlias = tuple[bool, str]

MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

# Neighbourhoods of 32 addresses: both ends of each space, its middle, and IPv4 as IPv6 writes it.
BASES_4 = [0, 0x0A000000, 0x7FFFFFE0, 0x80000000, 2**32 - 32]
BASES_6 = [0, 0x20010DB8 << 96, 2**127, 2**128 - 32, (0xFFFF << 32) + 0x0A000000]


@st.composite
def addresses(draw: st.DrawFn) -> IP:
    offset = draw(st.integers(0, 31))
    if draw(st.booleans()):
        return ipaddress.IPv4Address(draw(st.sampled_from(BASES_4)) + offset)
    return ipaddress.IPv6Address(draw(st.sampled_from(BASES_6)) + offset)


@st.composite
def entries(draw: st.DrawFn) -> str:
    """Draw an address, a prefix with or without host bits, or a range, in few neighbourhoods so that they overlap."""
    address = draw(addresses())
    width = address.max_prefixlen
    short = st.sampled_from([0, 1, 2, 8, width - 32, width - 31, width - 8])
    shape = draw(st.sampled_from(["address", "prefix", "prefix", "range"]))
    if shape == "prefix":
        return f"{address}/{draw(st.integers(width - 6, width) | short)}"
    if shape == "range":
        return f"{address}-{address + draw(st.integers(0, 31 - int(address) % 32))}"
    return str(address)


def networks(entry: str) -> list[Network]:
    """Parse an entry with the standard library alone."""
    low, dash, high = entry.partition("-")
    found: list[Network]
    if dash:
        found = list(ipaddress.summarize_address_range(ipaddress.ip_address(low), ipaddress.ip_address(high)))
    else:
        found = [ipaddress.ip_network(entry, strict=False)]
    return [unmapped(network) for network in found]


def unmapped(network: Network) -> Network:
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(MAPPED):
        return ipaddress.IPv4Network((network.network_address.packed[12:], network.prefixlen - 96))
    return network


@st.composite
def rules(draw: st.DrawFn) -> list[Entry]:
    """Draw entries, none of them both accepted and rejected."""
    said: dict[Network, bool] = {}
    kept = []
    for accept, entry in draw(st.lists(st.tuples(st.booleans(), entries()), max_size=30)):
        meant = networks(entry)
        if all(said.get(network, accept) is accept for network in meant):
            said.update(dict.fromkeys(meant, accept))
            kept.append((accept, entry))
    return kept


def compiled(rules: list[Entry], long_table: int = LONG_TABLE) -> SourceRules:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_rules, "LONG_TABLE", long_table)
        return SourceRules([text for accept, text in rules if accept], [text for accept, text in rules if not accept])


def edges(meant: list[Network]) -> Iterator[IP]:
    """The addresses at which the rule may change."""
    for network in meant:
        for number in (int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1):
            if 0 <= number < 1 << network.max_prefixlen:
                yield type(network.network_address)(number)


@pytest.mark.parametrize("long_table", [LONG_TABLE, 1], ids=["short", "long"])
@examples(50)
@given(rules(), st.lists(addresses(), max_size=10))
@example([(True, "0.0.0.0/0"), (False, "::/0")], [])
@example([(accept, f"10.0.0.0/{length}") for length in range(33) for accept in [length % 2 == 0]], [])
@example([(accept, f"ffff::ffff/{length}") for length in range(129) for accept in [length % 2 == 0]], [])
@example([(True, "::fffe:0:0-::ffff:ffff:ffff"), (True, "::fffe:0:1-::1:0:0:0")], [])
@example([(True, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127")], [])
def test_the_longest_prefix_wins_as_in_a_scan_of_all_rules(
    long_table: int, rules: list[Entry], others: list[IP]
) -> None:
    matcher = compiled(rules, long_table)
    scan = [(network, Rule(accept, text)) for accept, text in rules for network in networks(text)]
    for address in {*edges([network for network, _ in scan]), *others}:
        source = getattr(address, "ipv4_mapped", None) or address  # as session.source_bytes has it
        containing = [(network.prefixlen, rule) for network, rule in scan if source in network]
        expected = max(containing, key=lambda each: each[0])[1] if containing else None
        assert matcher.match(source.packed) == expected


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.7",
        "10.0.0.0/8",
        "10.0.0.0/8 ",
        " 10.0.0.0 / 8",
        "10.9.9.9/8",
        "10.0.0.0-10.0.0.7",
        " 10.0.0.0 - 10.0.0.7 ",
        "::ffff:10.0.0.7",
        "::ffff:10.0.0.0/104",
        "::ffff:10.0.0.0-::ffff:10.0.0.7",
    ],
)
def test_every_spelling_of_an_ipv4_rule_matches_an_ipv4_client(entry: str) -> None:
    assert SourceRules([entry]).match(b"\x0a\x00\x00\x07") == Rule(True, entry)  # the text is kept as written


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("10.0.0.5-10.0.0.9", ["10.0.0.5", "10.0.0.7", "10.0.0.9"], ["10.0.0.4", "10.0.0.10"]),
        (" 10.0.0.5 - 10.0.0.5 ", ["10.0.0.5"], ["10.0.0.4", "10.0.0.6"]),
        ("0.0.0.0-255.255.255.255", ["0.0.0.0", "255.255.255.255"], ["::", "::1"]),
        ("::/0", ["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], ["0.0.0.0", "10.0.0.1"]),
        ("255.255.255.255", ["255.255.255.255"], ["255.255.255.254", "0.0.0.0"]),
        ("0.0.0.0/32", ["0.0.0.0"], ["0.0.0.1", "255.255.255.255"]),
        ("128.0.0.0/1", ["128.0.0.0", "255.255.255.255"], ["0.0.0.0", "127.255.255.255"]),
    ],
)
def test_an_entry_matches_its_addresses_and_no_others(entry: str, inside: list[str], outside: list[str]) -> None:
    match = SourceRules([entry]).match
    assert [match(ipaddress.ip_address(each).packed) for each in inside] == [Rule(True, entry)] * len(inside)
    assert [match(ipaddress.ip_address(each).packed) for each in outside] == [None] * len(outside)


def test_a_client_on_a_local_socket_matches_unix_only() -> None:
    assert SourceRules(["unix"]).match(b"") == Rule(True, "unix")
    assert SourceRules(reject=["unix"]).match(b"") == Rule(False, "unix")
    assert SourceRules(["0.0.0.0/0", "::/0"]).match(b"") is None
    assert SourceRules(["unix"] * LONG_TABLE).match(b"") == Rule(True, "unix")


def test_rules_without_entries_match_no_address() -> None:
    assert [SourceRules().match(bytes(size)) for size in (0, 4, 16)] == [None] * 3


def test_of_two_entries_for_the_same_prefix_the_first_is_returned() -> None:
    assert SourceRules(["10.0.0.0/8", "10.1.2.3/8"]).match(b"\x0a\x00\x00\x00") == Rule(True, "10.0.0.0/8")


BAD_ENTRIES = [
    "",
    "everybody",
    "UNIX",
    "10",
    "10.1",
    "10.0.0.256",
    "012.0.0.1",
    "0x0a.0.0.1",
    "10.0.0.1.1",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/",
    "10.0.0.0/255.0.0.0",
    "10.0.0.0/0.255.255.255",
    "10.0.0.0/8/8",
    "/8",
    "::/129",
    ":::",
    "fe80::1%eth0",
    "10.0.0.1-",
    "-10.0.0.1",
    "10.0.0.1-5",
    "10.0.0.0/8-10.0.0.9",
    "10.0.0.1-10.0.0.2-10.0.0.3",
    "10.0.0.1-::1",
    "0.0.0.1-::9",
    "10.0.0.9-10.0.0.1",
    "10.0.1.0-10.0.0.0",
    "2001:db8::9-2001:db8::1",
    "10.0.0.1,10.0.0.2",
    None,
    10,
    b"10.0.0.1",
]


@pytest.mark.parametrize("verb", ["accept", "reject"])
@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_a_bad_entry_is_quoted_with_its_list_and_index(entry: str, verb: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        SourceRules(**{verb: ["10.0.0.1", "unix", entry]})
    assert f"{verb}[2] = {entry!r} is not an address, a prefix" in str(refusal.value)


def complaint(entry: str) -> str:
    try:
        SourceRules([entry])
    except ConfigurationError as refusal:
        return str(refusal)
    return ""


def is_address(text: str, family: socket.AddressFamily) -> bool:
    try:
        socket.inet_pton(family, text.strip())
    except (OSError, ValueError):
        return False
    return True


def is_entry(text: str) -> bool:
    """Return whether `text` is an address that inet_pton accepts, alone or with a length of its family."""
    host, slash, length = text.partition("/")
    length = length.strip()
    for family, bits in ((socket.AF_INET, 32), (socket.AF_INET6, 128)):
        if is_address(host, family):
            return not slash or (length.isascii() and length.isdecimal() and int(length) <= bits)
    return False


@st.composite
def misspelt(draw: st.DrawFn) -> str:
    """Draw an entry with a letter inserted, replaced or removed."""
    text: str = draw(addresses().map(str) | entries().filter(lambda entry: "-" not in entry))
    letter: str = draw(st.sampled_from(["", *"0123456789af:./ %x٣²\0\n"]))
    at = draw(st.integers(0, len(text)))
    return text[:at] + letter + text[at + draw(st.integers(0, 1)) :]


@examples(150)
@given(misspelt() | st.text("0123456789abcdf:./ %x", max_size=20))
@example("10.0.0.1/008")
@example("10.0.0.1/٣")
@example("1:2:3:4::5:6:7:8")
@example("::2:3:4:5:6:7:8")
@example("::ffff:010.0.0.1")
def test_text_that_inet_pton_refuses_is_quoted_and_all_other_text_is_accepted(text: str) -> None:
    said = complaint(text)
    assert (not said) is is_entry(text)
    assert not said or said.startswith(f"accept[0] = {text!r} is not an address")


@pytest.mark.parametrize(
    ("accepted", "rejected"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/8", "10.1.2.3/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.0-10.255.255.255"),
        ("2001:db8::/32", "2001:DB8:0::/32"),
        ("::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("unix", "unix"),
    ],
)
def test_a_prefix_both_accepted_and_rejected_is_refused_with_both_entries(accepted: str, rejected: str) -> None:
    with pytest.raises(ConfigurationError, match="both accepted and rejected") as refusal:
        SourceRules(["192.0.2.1", accepted], ["192.0.2.2", "192.0.2.3", rejected])
    assert f"reject[2] = {rejected!r}" in str(refusal.value)
    assert repr(accepted) in str(refusal.value)


def test_a_range_in_conflict_with_two_entries_is_one_fault() -> None:
    with pytest.raises(RulesError) as refusal:
        SourceRules(["10.0.0.2", "10.0.0.0/31"], ["10.0.0.0-10.0.0.2"])
    assert refusal.value.faults == ("reject[0] = '10.0.0.0-10.0.0.2' is both accepted and rejected (as '10.0.0.0/31')",)


@pytest.mark.parametrize("verb", ["accept", "reject"])
def test_text_in_place_of_a_list_is_refused_with_the_list_to_write(verb: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        SourceRules(**{verb: "10.0.0.0/8"})
    assert str(refusal.value) == f"{verb}='10.0.0.0/8' must be a list of entries: write ['10.0.0.0/8']"


@pytest.mark.parametrize("long_table", [LONG_TABLE, 1], ids=["short", "long"])
def test_every_faulty_entry_is_reported_once_and_in_order(long_table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_rules, "LONG_TABLE", long_table)
    accept = ["192.0.2.0/24", "10.0.0.256", "10.0.0.0-10.0.0.2", "unix"]
    reject = ["unix", "172.16.0.0/12", "everybody", "10.0.0.0-10.0.0.2", "192.0.2.9/24"]
    for compiling in (SourceRules, in_steps):
        with pytest.raises(RulesError) as refusal:
            compiling(accept, reject)
        assert str(refusal.value) == refusal.value.faults[0]
        assert [fault.partition(" (")[0] for fault in refusal.value.faults] == [
            "accept[1] = '10.0.0.256' is not an address, a prefix",
            "reject[0] = 'unix' is both accepted and rejected",
            "reject[2] = 'everybody' is not an address, a prefix",
            "reject[3] = '10.0.0.0-10.0.0.2' is both accepted and rejected",
            "reject[4] = '192.0.2.9/24' is both accepted and rejected",
        ]


@pytest.mark.parametrize("long_table", [LONG_TABLE, 1], ids=["short", "long"])
def test_of_many_faulty_entries_the_first_are_reported_and_all_are_counted(
    long_table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_rules, "LONG_TABLE", long_table)
    twice = [f"10.0.{number}.0-10.0.{number}.2" for number in range(90)]  # two prefixes each, and one fault
    with pytest.raises(RulesError) as refusal:
        SourceRules(twice, [*twice, *["nowhere"] * 30])
    assert refusal.value.more == 20
    assert [fault.partition(" ")[0] for fault in refusal.value.faults] == [f"reject[{number}]" for number in range(100)]
    with pytest.raises(RulesError) as refusal:
        SourceRules(["nowhere"] * MAX_FAULTS)
    assert (len(refusal.value.faults), refusal.value.more) == (MAX_FAULTS, 0)


def in_steps(accept: list[str], reject: list[str]) -> list[float]:
    """Compile step by step; return the processor seconds of each step."""
    steps = compile_rules(tuple(accept), tuple(reject))
    took = []
    going = True
    while going:
        began = thread_time()
        going = next(steps, steps) is None
        took.append(thread_time() - began)
    return took


def test_compile_rules_gives_the_rules_at_the_end_of_its_steps() -> None:
    found = []

    def keep() -> Iterator[None]:
        found.append((yield from compile_rules(["10.0.0.0/8", "2001:db8::1"], ["10.1.0.0/16"] * 20)))

    assert len(list(keep())) > 2
    (rules,) = found
    assert rules.match(b"\x0a\x02\x00\x00") == Rule(True, "10.0.0.0/8")
    assert rules.match(b"\x0a\x01\x00\x00") == Rule(False, "10.1.0.0/16")
    assert (rules.accepted, rules.rejected) == (2, 20)


MANY = 2 * LONG_TABLE


def prefixes(size: int) -> Iterator[str]:
    rng = random.Random(size)
    for _ in range(MANY):
        yield f"{ipaddress.ip_address(rng.randbytes(size))}/{rng.randrange(4 * size, 8 * size)}"


@pytest.mark.parametrize(
    "accept",
    [
        [*prefixes(4)],
        [*prefixes(16)],
        [entry.partition("/")[0] for entry in prefixes(4)],
        ["10.0.0.0/8"] * MANY,
        [f"10.{number}.0.1-10.255.255.254" for number in range(MANY // 40)],
        [f"::{number}-ffff::fffe" for number in range(1, MANY // 200)],
    ],
    ids=["IPv4", "IPv6", "addresses", "one repeated", "ranges", "wide ranges"],
)
def test_no_step_of_compiling_takes_long(accept: list[str]) -> None:
    """The runs have the same steps, so the fastest of three runs of a step is its cost without the machine's noise.

    To sort, flatten or free all keys at once would take 1 to 20 ms.
    """
    gc.disable()
    try:
        runs = [in_steps(accept, []) for _ in range(3)]
    finally:
        gc.enable()
    assert max(min(step) for step in zip(*runs, strict=True)) < 0.0007


def test_rules_of_thousands_have_few_objects_for_the_garbage_collector() -> None:
    entries = tuple(prefixes(4))
    before = len(gc.get_objects())
    rules = SourceRules(entries)
    assert len(gc.get_objects()) - before < 100
    assert rules.accepted == MANY
