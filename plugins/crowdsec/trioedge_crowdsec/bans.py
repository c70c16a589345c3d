"""The bans in force, by address and by prefix, changed one at a time.

Single addresses are in one dict. Prefixes are in a dict for each length that is in use. So a look-up takes one dict
look-up, and one more for each length. No change sorts or copies all bans, whatever their number.
"""

from typing import Any, Final, TypeAlias

import trioedge as te

Network: TypeAlias = bytes | tuple[int, int, int]
"""A single address, packed; or a prefix: the bytes of an address, its host bits, and the address shifted by these."""

Ban: TypeAlias = tuple[Network, float, str]
"""Its network, its end in seconds of the edge's clock, and the detail of refusals. A plain tuple of atoms, because the
garbage collector looks at it once and never again."""

_Ids: TypeAlias = tuple[int, ...]

MAX_BANS: Final = 500_000
"""They take some 200 MB of memory."""


class Bans:
    """The bans by the ids that CrowdSec gave them.

    Several bans may have one network: it is banned as long as one of them is in force. A ban that has ended refuses
    nothing, and is there until it is removed.
    """

    # Invariant: `_by_id` has every ban. Its id is under its network in `_addresses` (a single address), or in
    # `_prefixes[size][host bits]` under the shifted address. No tuple of ids and no dict of prefixes is empty, and the
    # first id of a tuple is of the ban that ends last. `_lengths[size]` has the items of `_prefixes[size]`, the longest
    # prefix first.

    __slots__ = ("_addresses", "_by_id", "_lengths", "_prefixes")

    def __init__(self) -> None:
        self._by_id: dict[int, Ban] = {}
        self._addresses: dict[bytes, _Ids] = {}
        self._prefixes: dict[int, dict[int, dict[int, _Ids]]] = {4: {}, 16: {}}
        self._lengths: dict[int, list[tuple[int, dict[int, _Ids]]]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def ids(self) -> list[int]:
        """Copy the ids of all bans; 100,000 take some 0.3 ms."""
        return list(self._by_id)

    def get(self, ban_id: int) -> Ban | None:
        """Give the ban of an id; None if there is none."""
        return self._by_id.get(ban_id)

    def put(self, ban_id: int, ban: Ban) -> None:
        """Add a ban, in place of the one that has its id."""
        if ban_id in self._by_id:
            self.remove(ban_id)
        self._by_id[ban_id] = ban
        ids_of, key = self._place(ban[0])
        ids = ids_of.get(key)
        if ids is None:
            ids_of[key] = (ban_id,)
        else:
            ids_of[key] = (ban_id, *ids) if ban[1] >= self._by_id[ids[0]][1] else (*ids, ban_id)

    def remove(self, ban_id: int) -> None:
        """Remove a ban; does nothing if there is none of this id."""
        ban = self._by_id.pop(ban_id, None)
        if ban is None:
            return
        network = ban[0]
        ids_of, key = self._place(network)
        ids = ids_of[key]
        if len(ids) > 1:
            left = [each for each in ids if each != ban_id]
            if ids[0] == ban_id:
                left.sort(key=lambda each: self._by_id[each][1], reverse=True)
            ids_of[key] = tuple(left)
            return
        del ids_of[key]
        if not ids_of and not isinstance(network, bytes):
            self._forget_length(network[0], network[1])

    def judge(self, source: bytes, now: float) -> te.Verdict:
        """Reject an address that a ban has.

        Args:
            source: a packed address; no bytes for a client of a local socket, which no ban has.
            now: seconds of the edge's clock.
        """
        ids = self._addresses.get(source)
        if ids is not None:
            _, until, words = self._by_id[ids[0]]
            if now < until:
                return te.Reject(te.Reason.SOURCE, words)
        lengths = self._lengths.get(len(source))
        if lengths is not None:
            number = int.from_bytes(source)
            for host_bits, prefixes in lengths:
                ids = prefixes.get(number >> host_bits)
                if ids is not None:
                    _, until, words = self._by_id[ids[0]]
                    if now < until:
                        return te.Reject(te.Reason.SOURCE, words)
        return te.CONTINUE

    def _place(self, network: Network) -> tuple[dict[Any, _Ids], bytes | int]:
        """Give the dict that has the ids of a network, and the key there."""
        if isinstance(network, bytes):
            return self._addresses, network
        size, host_bits, prefix = network
        by_length = self._prefixes[size]
        if host_bits not in by_length:
            by_length[host_bits] = {}
            self._lengths[size] = sorted(by_length.items())
        return by_length[host_bits], prefix

    def _forget_length(self, size: int, host_bits: int) -> None:
        """Leave out a prefix length that is not in use any more, so that no look-up pays for it."""
        by_length = self._prefixes[size]
        del by_length[host_bits]
        if by_length:
            self._lengths[size] = sorted(by_length.items())
        else:
            del self._lengths[size]
