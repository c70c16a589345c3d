"""Devices of users on other nodes: what the panel counts on all, less what this node told it."""

from collections.abc import Iterable, Mapping, Sequence


class Places:
    """How many devices of each user are online elsewhere.

    The panel says how many addresses of a user are online on all nodes, and not which. Those that this node told it
    last are taken off. A device that is online here and elsewhere is one address to the panel, so it counts for none.
    """

    # `_told` has every user with addresses that the panel may have from this node, and their number as far as the panel
    # has acknowledged it.
    def __init__(self) -> None:
        """Start with none."""
        self._told: dict[str, int] = {}
        self._elsewhere: dict[str, int] = {}

    def elsewhere(self, uid: str) -> int:
        """Return how many devices of a user are online on other nodes."""
        return self._elsewhere.get(uid, 0)

    def count(self, alive: Mapping[str, int]) -> None:
        """Take what the panel says of all nodes."""
        elsewhere = {uid: count - self._told.get(uid, 0) for uid, count in alive.items()}
        self._elsewhere = {uid: count for uid, count in elsewhere.items() if count > 0}

    def suspect(self, uids: Iterable[str]) -> None:
        """Note that the panel may have addresses of these users from an earlier run of this node."""
        for uid in uids:
            self._told.setdefault(uid, 0)

    def to_tell(self, online: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Return what to tell the panel: the addresses of each user that is online, and none of those that have left.

        Without the latter the panel would count them for 100 to 300 s more.
        """
        left = dict[str, list[str]]((uid, []) for uid in self._told if uid not in online)
        return left | {uid: [_address(device) for device in devices] for uid, devices in online.items()}

    def told(self, addresses: Mapping[str, Sequence[str]], *, acknowledged: bool) -> None:
        """Note that the panel was told of these, and whether it acknowledged that."""
        for uid, there in addresses.items():
            if not acknowledged:
                self._told.setdefault(uid, 0)
            elif there:
                self._told[uid] = len(there)
            else:
                self._told.pop(uid, None)


def _address(device: str) -> str:
    """Write a device as an address: one of IPv6 is a prefix, ``2001:db8::/64``, and a panel takes addresses only."""
    return device.partition("/")[0]
