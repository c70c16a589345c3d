"""The outbounds of an edge that policies name, and the faults of a policy that names one."""

from collections.abc import Collection, Generator, Mapping
from difflib import get_close_matches
from typing import Final

import attrs

from ...errors import quote
from ..policy import Policy


@attrs.frozen(slots=True)
class OutboundFacts:
    """An outbound, as policies see it.

    Attributes:
        leads: whether it is a destination itself, as a balanced one is.
        keeps_idle: whether it can keep idle connections.
    """

    leads: bool = False
    keeps_idle: bool = False


NO_OUTBOUNDS: Final[Mapping[str, OutboundFacts]] = {}


def leads_somewhere(policy: Policy, known: Mapping[str, OutboundFacts]) -> bool:
    """Return whether a policy names a destination: an address, or an outbound that is one itself."""
    way = policy.way
    return policy.to is not None or (way is not None and way in known and known[way].leads)


def outbound_faults(policy: Policy, path: str, known: Mapping[str, OutboundFacts]) -> Generator[str, None, None]:
    """Check that the outbound of a policy is one of the edge, and that its other fields fit it.

    Args:
        policy: one whose fields are right, each for itself.
        path: of the service, as in ``services.shop``.
        known: the outbounds of the edge, by name.

    Yields:
        ``services.shop.outbound = 'tunel' is no outbound of this edge (did you mean tunnel?): it has tunnel``.
    """
    outbound, way = policy.outbound, policy.way
    if outbound is None:
        return
    if way is None:
        if policy.destination is not None:
            yield (
                f"{path}.outbound = {quote(outbound)} is an address, and so is destination: leave one of them out, or "
                "let outbound be a name of the edge's outbounds=…"
            )
        return
    facts = known.get(way)
    if facts is None:
        yield f"{path}.outbound = {quote(way)} {_unknown(way, known)}"
    elif facts.leads and policy.destination is not None:
        yield (
            f"{path}.destination = {quote(policy.destination)} does nothing: the outbound {quote(way)} has "
            "destinations of its own"
        )
    elif policy.preconnect and (facts.leads or not facts.keeps_idle):
        yield f"{path}.preconnect = {policy.preconnect} does nothing: outbound {quote(way)} keeps no idle connections"
    elif policy.preconnect and policy.destination is None:
        yield f"{path}.preconnect = {policy.preconnect} needs a destination to connect to"


def _unknown(way: str, known: Collection[str]) -> str:
    if not known:
        return (
            f"is no address, and this edge has no outbounds: write tcp://host:port, or Edge(outbounds={{{way!r}: …}})"
        )
    meant = get_close_matches(way, known, 1)
    hint = f" (did you mean {meant[0]}?)" if meant else ""
    return f"is no outbound of this edge{hint}: it has {', '.join(sorted(known))}"
