"""The kernel's program is run by an interpreter of the test, and must answer as the function in Python does."""

import ipaddress
import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.addresses.source_prefix import SourcePrefix
from trioedge.addresses.steering import Steering

_WORD = 0xFFFFFFFF


def run_bpf(program: bytes, packet: bytes) -> int:
    """Run a classic BPF program over a packet that begins with its network header."""
    code: list[tuple[int, int, int, int]] = [
        struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)
    ]
    a = x = at = 0
    memory = [0] * 16
    while True:
        opcode, if_true, if_false, k = code[at]
        at += 1
        match opcode:
            case 0x20:
                a = int.from_bytes(packet[k - 0xFFF00000 :][:4])
            case 0x30:
                a = packet[k - 0xFFF00000]
            case 0x60:
                a = memory[k]
            case 0x61:
                x = memory[k]
            case 0x02:
                memory[k] = a
            case 0x07:
                x = a
            case 0x54:
                a &= k
            case 0x74:
                a >>= k
            case 0x24:
                a = a * k & _WORD
            case 0x34:
                a //= k
            case 0x94:
                a %= k
            case 0xA4:
                a ^= k
            case 0xAC:
                a ^= x
            case 0x05:
                at += k
            case 0x15:
                at += if_true if a == k else if_false
            case 0x06:
                return k
            case 0x16:
                return a
            case _:
                raise AssertionError(f"opcode {opcode:#x}")


def packet_from(packed: bytes) -> bytes:
    if len(packed) == 4:
        return bytes([0x45, *bytes(11), *packed, *bytes(4)])
    return bytes([0x60, *bytes(7), *packed, *bytes(16)])


addresses = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))


@st.composite
def steerings(draw: st.DrawFn) -> Steering:
    workers = draw(st.integers(1, 64))
    prefix = SourcePrefix(draw(st.integers(1, 32)), draw(st.integers(1, 128)))
    steering = Steering(workers, draw(st.integers(0, _WORD)), prefix)
    return steering.leaving_out(draw(st.sets(st.integers(0, workers - 1))))


@given(steerings(), addresses)
def test_the_kernels_program_gives_the_worker_that_python_gives(steering: Steering, packed: bytes) -> None:
    assert run_bpf(steering.program(), packet_from(packed)) == steering.worker_of(packed)


@given(steerings(), addresses)
def test_a_source_has_the_worker_of_its_key_and_that_worker_is_live(steering: Steering, packed: bytes) -> None:
    worker = steering.worker_of(packed)
    assert worker == steering.worker_of(steering.prefix.key(packed))
    assert worker in steering.live


@given(st.integers(2, 64), st.integers(0, _WORD), addresses, st.integers(0, 63))
def test_leaving_a_worker_out_moves_no_source_of_the_others(workers: int, salt: int, packed: bytes, out: int) -> None:
    before = Steering(workers, salt)
    after = before.leaving_out({out % workers})
    if before.worker_of(packed) != out % workers:
        assert after.worker_of(packed) == before.worker_of(packed)
    else:
        assert after.worker_of(packed) != out % workers


def test_leaving_all_out_leaves_all_in() -> None:
    assert Steering(3, 1).leaving_out({0, 1, 2}).live == (0, 1, 2)


def test_all_addresses_of_one_ipv6_64_have_one_worker_also_with_a_finer_prefix() -> None:
    steering = Steering(16, 77, SourcePrefix(32, 128))
    network = ipaddress.ip_network("2001:db8:1:2::/64")
    assert len({steering.worker_of(network[number * 7919].packed) for number in range(200)}) == 1


@pytest.mark.parametrize(
    "sources",
    [
        [(0x0A000000 + number).to_bytes(4) for number in range(65_536)],
        [bytes.fromhex("20010db8") + number.to_bytes(4) + bytes(8) for number in range(65_536)],
    ],
    ids=["a /16 in order", "neighbouring /64"],
)
def test_sources_in_order_are_spread_evenly(sources: list[bytes]) -> None:
    steering = Steering(4, 0x5EED)
    counts = Counter(map(steering.worker_of, sources))
    assert all(abs(count - 16_384) < 700 for count in counts.values()), counts


@pytest.mark.parametrize("workers", [1, 64])
def test_the_longest_program_fits_into_the_kernels_limit(workers: int) -> None:
    program = Steering(workers, 1).leaving_out(range(1, workers, 2)).program()
    assert len(program) // 8 < 4096  # BPF_MAXINSNS
