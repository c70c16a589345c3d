import gc
import ipaddress
import random
from bisect import bisect_right
from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.addresses.ranges import NO_RULE, NUMBER_BITS, LongTable, ShortTable, flatten

Prefix: TypeAlias = tuple[int, int]
"""The first address and the length."""

Find: TypeAlias = Callable[[bytes], int | None]


def key(prefix: Prefix, number: int) -> int:
    first, length = prefix
    return (first << 8 | length) << NUMBER_BITS | number


def keys_of(networks: dict[str, int]) -> list[int]:
    read = {ipaddress.ip_network(text): number for text, number in networks.items()}
    return [key((int(network[0]), network.prefixlen), number) for network, number in read.items()]


def ranges_of(size: int, keys: list[int]) -> list[tuple[str, int]]:
    """Flatten; give the first address of each range as text, and its number."""
    found: list[tuple[str, int]] = []

    def append(start: int, number: int) -> None:
        found.append((str(ipaddress.ip_address(start.to_bytes(size, "big"))), number))

    for _ in flatten(size, keys, append):
        pass
    return found


def test_a_prefix_within_a_prefix_splits_its_range() -> None:
    assert ranges_of(4, keys_of({"10.0.0.0/8": 0, "10.1.0.0/16": 1})) == [
        ("10.0.0.0", 0),
        ("10.1.0.0", 1),
        ("10.2.0.0", 0),
        ("11.0.0.0", NO_RULE),
    ]


def test_neighbouring_prefixes_have_no_gap_between_their_ranges() -> None:
    assert ranges_of(4, keys_of({"10.0.0.0/9": 0, "10.128.0.0/9": 1})) == [
        ("10.0.0.0", 0),
        ("10.128.0.0", 1),
        ("11.0.0.0", NO_RULE),
    ]


def test_a_prefix_within_a_prefix_of_the_same_number_changes_nothing() -> None:
    assert ranges_of(4, keys_of({"10.0.0.0/8": 7, "10.1.0.0/16": 7})) == [("10.0.0.0", 7), ("11.0.0.0", NO_RULE)]


def test_a_prefix_that_hides_all_of_another_leaves_no_empty_range() -> None:
    networks = {"10.0.0.0/8": 0, "10.0.0.0/9": 1, "10.128.0.0/9": 2}
    assert ranges_of(4, keys_of(networks)) == [("10.0.0.0", 1), ("10.128.0.0", 2), ("11.0.0.0", NO_RULE)]


@pytest.mark.parametrize(("everything", "first"), [("0.0.0.0/0", "0.0.0.0"), ("::/0", "::")], ids=["IPv4", "IPv6"])
def test_a_prefix_of_all_addresses_is_one_range_without_an_end(everything: str, first: str) -> None:
    size = 4 if "." in everything else 16
    assert ranges_of(size, keys_of({everything: 3})) == [(first, 3)]


def test_no_prefixes_have_no_ranges() -> None:
    assert ranges_of(4, []) == []


def test_single_addresses_go_to_their_callback_and_make_no_ranges() -> None:
    found: list[tuple[int, int]] = []
    singles: dict[bytes, int] = {}
    keys = keys_of({"10.0.0.0/8": 0, "10.0.0.7/32": 1, "192.0.2.1/32": 2})
    for _ in flatten(4, keys, lambda start, number: found.append((start, number)), single=singles.__setitem__):
        pass
    assert singles == {b"\x0a\x00\x00\x07": 1, b"\xc0\x00\x02\x01": 2}
    assert found == [(10 << 24, 0), (11 << 24, NO_RULE)]


def test_of_a_repeated_prefix_the_lowest_number_is_kept_and_the_others_are_reported() -> None:
    prefix, other = (10 << 24, 8), (10 << 24, 9)
    keys = [key(prefix, 5), key(other, 1), key(prefix, 9), key(prefix, 3)]
    repeats: list[tuple[int, int]] = []
    found: list[int] = []
    for _ in flatten(
        4,
        keys,
        lambda start, number: found.append(number),
        repeated=lambda kept, number: repeats.append((kept, number)),
    ):
        pass
    assert repeats == [(3, 5), (3, 9)]
    assert found == [1, 3, NO_RULE]


def test_flattening_empties_the_keys() -> None:
    keys = keys_of({f"10.{number}.0.0/16": number for number in range(256)})
    ranges_of(4, keys)
    assert keys == []


def test_many_keys_are_flattened_in_steps() -> None:
    keys = [key((number << 8, 24), number) for number in range(10_000)]
    assert sum(1 for _ in flatten(4, keys, lambda start, number: None)) > 500


@st.composite
def nested(draw: st.DrawFn, size: int) -> dict[Prefix, int]:
    """Prefixes by number, in four neighbourhoods, so that many are nested."""
    bits = 8 * size
    found: dict[Prefix, int] = {}
    for number in range(draw(st.integers(0, 30))):
        near = draw(st.sampled_from([0, 1 << bits - 1, 0xFFFF << bits // 2, (1 << bits) - 64]))
        length = draw(st.sampled_from([0, 1, bits // 2, bits // 2 + 1]) | st.integers(bits - 6, bits))
        address = near + draw(st.integers(0, 63))
        found.setdefault((address >> bits - length << bits - length, length), number)
    return found


def longest(prefixes: dict[Prefix, int], size: int, address: int) -> int | None:
    """Find the longest prefix by trying every length."""
    bits = 8 * size
    for length in range(bits, -1, -1):
        number = prefixes.get((address >> bits - length << bits - length, length))
        if number is not None:
            return number
    return None


def short_table(size: int, keys: list[int]) -> Find:
    table = ShortTable(size, int)
    for _ in flatten(size, keys, table.append):
        pass
    return lambda packed: table.values[bisect_right(table.starts, packed)]


def long_table(size: int, keys: list[int]) -> Find:
    table = LongTable(size, int)
    for _ in flatten(size, keys, table.append):
        pass
    table.close()
    return table.find


def check(make: Callable[[int, list[int]], Find], size: int, prefixes: dict[Prefix, int], others: list[int]) -> None:
    """Look up both ends of each prefix, the addresses beside them, and some others."""
    bits = 8 * size
    find = make(size, [key(prefix, number) for prefix, number in prefixes.items()])
    addresses = {0, 1, 1 << bits - 1, (1 << bits) - 1, *others}
    for first, length in prefixes:
        last = first | (1 << bits - length) - 1
        addresses |= {max(first - 1, 0), first, last, min(last + 1, (1 << bits) - 1)}
    for address in addresses:
        assert find(address.to_bytes(size, "big")) == longest(prefixes, size, address)


@pytest.mark.parametrize("make", [short_table, long_table])
@examples(100)
@given(nested(4))
@example({})
@example({(0, 0): 0})
@example({((1 << 32) - 1, 32): 0, (0, 0): 1})
def test_a_table_finds_the_longest_ipv4_prefix_as_a_trial_of_every_length_does(
    make: Callable[[int, list[int]], Find], prefixes: dict[Prefix, int]
) -> None:
    check(make, 4, prefixes, [])


@pytest.mark.parametrize("make", [short_table, long_table])
@examples(100)
@given(nested(16))
@example({})
@example({(0, 0): 0})
@example({((1 << 128) - 1, 128): 0, (0, 0): 1})
def test_a_table_finds_the_longest_ipv6_prefix_as_a_trial_of_every_length_does(
    make: Callable[[int, list[int]], Find], prefixes: dict[Prefix, int]
) -> None:
    check(make, 16, prefixes, [])


@pytest.mark.parametrize("size", [4, 16])
def test_a_long_table_of_thousands_finds_the_longest_prefix_too(size: int) -> None:
    rng = random.Random(size)
    bits = 8 * size
    prefixes: dict[Prefix, int] = {}
    for number in range(4096):
        length = rng.randrange(4, bits)
        first = rng.getrandbits(length) << bits - length
        for longer in (0, rng.randrange(0, bits - length)):  # often one within the other
            prefixes.setdefault((first, length + longer), number)
    check(long_table, size, prefixes, [rng.getrandbits(bits) for _ in range(500)])


def test_a_long_table_has_few_objects_for_the_garbage_collector() -> None:
    table = LongTable(4, int)
    keys = [key((number << 8, 24), number % 7) for number in range(10_000)]
    before = len(gc.get_objects())
    for _ in flatten(4, keys, table.append):
        pass
    table.close()
    assert len(gc.get_objects()) - before < 100
