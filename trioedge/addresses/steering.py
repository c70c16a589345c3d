"""Which worker has the connections of a source: the same answer in Python and as a program of the kernel.

The kernel runs the program for each connection that comes to a group of sockets with SO_REUSEPORT, and the result is
the index of the socket. It is classic BPF (Documentation/networking/filter.rst of Linux): an accumulator A, an index
register X, 16 words of memory, and loads relative to the packet's network header.

Two connections of one source get one worker: the hash is that of the source's key, which has at most 64 bits of an IPv6
address. An IPv4 client of a dual-stack socket is hashed as IPv4. The bits are mixed as the finaliser of MurmurHash3
does (Austin Appleby). While a worker is left out, the clients of the others stay where they are.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from .source_prefix import SourcePrefix

MAX_WORKERS: Final = 64

_MASK: Final = 0xFFFFFFFF
_GOLDEN, _FIRST, _SECOND = 0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35

# Opcodes of linux/bpf_common.h: class, size or operation, source.
_LOAD_WORD, _LOAD_BYTE = 0x20, 0x30
_LOAD_SAVED, _LOAD_X_SAVED, _SAVE, _A_TO_X = 0x60, 0x61, 0x02, 0x07
_AND, _SHIFT_RIGHT, _MULTIPLY, _DIVIDE, _MODULO, _XOR, _XOR_X = 0x54, 0x74, 0x24, 0x34, 0x94, 0xA4, 0xAC
_JUMP, _IF_EQUAL, _RETURN, _RETURN_A = 0x05, 0x15, 0x06, 0x16

_NETWORK: Final = 0xFFF00000
"""SKF_NET_OFF: offsets from here on are from the network header."""

_IPV4_SOURCE, _IPV6_SOURCE = _NETWORK + 12, _NETWORK + 8

_Code = tuple[int, int, int, int]
"""Opcode, instructions to skip if true, if false, and the constant."""


@attrs.frozen
class Steering:
    """The assignment of sources to workers.

    Attributes:
        workers: how many there are, 1 to 64.
        salt: 32 bits that no client knows, so that none can choose its worker.
        prefix: the part of an address that is one source.
        live: the workers that take clients, in ascending order and at least one; by default all.
    """

    workers: int
    salt: int
    prefix: SourcePrefix = SourcePrefix()  # noqa: RUF009 - frozen
    live: tuple[int, ...] = ()

    def __attrs_post_init__(self) -> None:
        if not self.live:
            object.__setattr__(self, "live", tuple(range(self.workers)))

    def leaving_out(self, left_out: Iterable[int]) -> "Steering":
        """Return the same without some workers; with all of them, because then none is better than another."""
        live = tuple(sorted({*range(self.workers)}.difference(left_out)))
        return attrs.evolve(self, live=live or tuple(range(self.workers)))

    def worker_of(self, packed: bytes) -> int:
        """Return the worker of a source.

        Args:
            packed: the address or its key, 4 or 16 bytes; none for a client of a local socket.
        """
        if len(packed) == 16:
            upper, lower = int.from_bytes(packed[:4]), int.from_bytes(packed[4:8])
            bits = self.prefix.ipv6
            mixed = ((upper & _leading(bits)) ^ self.salt) * _GOLDEN & _MASK
            mixed ^= lower & _leading(bits - 32)
        else:
            mixed = int.from_bytes(packed) & _leading(self.prefix.ipv4) ^ self.salt
        mixed ^= mixed >> 16
        mixed = mixed * _FIRST & _MASK
        mixed ^= mixed >> 13
        mixed = mixed * _SECOND & _MASK
        mixed ^= mixed >> 16
        worker = mixed % self.workers
        return worker if worker in self.live else self.live[mixed // self.workers % len(self.live)]

    def program(self) -> bytes:
        """Return the kernel's program: instructions of 8 bytes each (``struct sock_filter``)."""
        bits = self.prefix.ipv6
        ipv6: list[_Code] = [
            (_LOAD_WORD, 0, 0, _IPV6_SOURCE),
            (_AND, 0, 0, _leading(bits)),
            (_XOR, 0, 0, self.salt),
            (_MULTIPLY, 0, 0, _GOLDEN),
            (_SAVE, 0, 0, 0),
            (_LOAD_WORD, 0, 0, _IPV6_SOURCE + 4),
            (_AND, 0, 0, _leading(bits - 32)),
            (_LOAD_X_SAVED, 0, 0, 0),
            (_XOR_X, 0, 0, 0),
        ]
        ipv4: list[_Code] = [
            (_LOAD_WORD, 0, 0, _IPV4_SOURCE),
            (_AND, 0, 0, _leading(self.prefix.ipv4)),
            (_XOR, 0, 0, self.salt),
        ]
        mix: list[_Code] = []
        for shift, factor in ((16, _FIRST), (13, _SECOND), (16, None)):
            mix += [(_A_TO_X, 0, 0, 0), (_SHIFT_RIGHT, 0, 0, shift), (_XOR_X, 0, 0, 0)]
            if factor is not None:
                mix.append((_MULTIPLY, 0, 0, factor))
        version: list[_Code] = [
            (_LOAD_BYTE, 0, 0, _NETWORK),
            (_SHIFT_RIGHT, 0, 0, 4),
            (_IF_EQUAL, 0, len(ipv6) + 1, 6),
        ]
        code = [*version, *ipv6, (_JUMP, 0, 0, len(ipv4)), *ipv4, *mix, *self._choice()]
        return b"".join(struct.pack("HBBI", *each) for each in code)

    def _choice(self) -> list[_Code]:
        """Turn the mixed bits into the index of a live worker."""
        dead = [each for each in range(self.workers) if each not in self.live]
        if not dead:
            return [(_MODULO, 0, 0, self.workers), (_RETURN_A, 0, 0, 0)]
        again: list[_Code] = [
            (_LOAD_SAVED, 0, 0, 1),
            (_DIVIDE, 0, 0, self.workers),
            (_MODULO, 0, 0, len(self.live)),
            *_table(self.live),
        ]
        tests: list[_Code] = [
            (_IF_EQUAL, len(dead) - number, 0, each)  # over the other tests and the return
            for number, each in enumerate(dead)
        ]
        return [(_SAVE, 0, 0, 1), (_MODULO, 0, 0, self.workers), *tests, (_RETURN_A, 0, 0, 0), *again]


def _table(live: Sequence[int]) -> list[_Code]:
    """Return the element of a table whose index is A."""
    code: list[_Code] = []
    for index, worker in enumerate(live):
        code += [(_IF_EQUAL, 0, 1, index), (_RETURN, 0, 0, worker)]
    return [*code, (_RETURN, 0, 0, live[0])]


def _leading(bits: int) -> int:
    """Return a word of which the first `bits` are 1; a number below 0 is 0, above 32 it is 32."""
    bits = max(0, min(32, bits))
    return (_MASK << (32 - bits)) & _MASK
