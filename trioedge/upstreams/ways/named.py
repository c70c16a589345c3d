"""The outbounds that an edge gives names to, for its policies: checked, and open while an edge serves."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import trio

from ...errors import ConfigurationError, quote
from ...services.applying.outbounds import OutboundFacts
from ...services.context import EdgeContext
from ...services.policy import OUTBOUND_NAME
from ...session.kinds import close_parts
from ...session.stage import Worker
from ..balancing.balanced import Balanced
from ..balancing.live_balanced import LiveBalanced
from ..connector import Connecting
from ..direct import Direct
from ..outbound import check_outbound, open_outbound, part_of
from ..own_listeners import AddressesByPort, own_listener


def check_outbounds(outbounds: Any) -> Mapping[str, object]:
    """Check the outbounds of an edge, and give them so that they cannot be changed.

    Raises:
        ConfigurationError: names the one that is wrong, and its fault.
    """
    if not isinstance(outbounds, Mapping):
        raise ConfigurationError(
            f"Edge(outbounds={quote(outbounds)}) must be a dict of outbounds by name, as in {{'tunnel': te.Via('…')}}"
        )
    for name, outbound in outbounds.items():
        if not isinstance(name, str) or not OUTBOUND_NAME.fullmatch(name):
            raise ConfigurationError(
                f"Edge(outbounds=…) has the name {quote(name)}: write a letter, then up to 62 letters, digits, - and _"
            )
        if not isinstance(outbound, Balanced):
            check_outbound(outbound, f"Edge(outbounds[{name!r}]")
    return MappingProxyType(dict(outbounds))


def facts_of_outbounds(outbounds: Mapping[str, object]) -> Mapping[str, OutboundFacts]:
    """Give what policies have to know of outbounds."""
    return {
        name: OutboundFacts(leads=isinstance(each, Balanced), keeps_idle=isinstance(each, Direct))
        for name, each in outbounds.items()
    }


class NamedOutbounds:
    """The named outbounds of one run of an edge, for its endpoint."""

    def __init__(self, usual: Connecting, context: EdgeContext, seconds: float, retries: int) -> None:
        """Open them.

        Args:
            usual: connects sessions whose policy names no outbound, and the members of balanced destinations.
            context: the running edge, whose outbounds these are.
            seconds: the limit of one connect.
            retries: how often a connect that was refused is retried.

        Raises:
            ConfigurationError: an ``open`` made no outbound, or a member is an address that the edge listens on.
        """
        self._usual = usual
        self._log = context.log
        self._connectors: dict[str, Connecting] = {}
        self._groups: dict[str, LiveBalanced] = {}
        try:
            for name, outbound in context.outbounds.items():
                if isinstance(outbound, Balanced):
                    _check_members(name, outbound, context.listeners)
                    self._groups[name] = LiveBalanced(outbound, usual, context, seconds, retries, name)
                else:
                    self._connectors[name] = open_outbound(outbound, context)
        except BaseException:
            self.close()
            raise

    def group(self, name: str | None) -> LiveBalanced | None:
        """Give the balanced destination of this name; None if the name is another outbound's, or None."""
        return None if name is None else self._groups.get(name)

    def connector(self, name: str | None) -> Connecting:
        """Give what connects on the way of this name; the usual one for None, and for a balanced destination.

        Raises:
            KeyError: there is no outbound of this name.
        """
        return self._usual if name is None or name in self._groups else self._connectors[name]

    def _parts(self) -> Iterator[object]:
        return map(part_of, self._connectors.values())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the workers of the outbounds, and keep balanced destinations prepared, until cancelled."""
        async with trio.open_nursery() as nursery:
            for part in self._parts():
                if isinstance(part, Worker):
                    await nursery.start(part.run)
            for group in self._groups.values():
                group.warm(nursery)
            task_status.started()
            await trio.sleep_forever()

    def close(self) -> None:
        """Close them."""
        close_parts(tuple(self._parts()), self._log)


def _check_members(name: str, balanced: Balanced, listeners: AddressesByPort) -> None:
    for address in balanced.addresses:
        if (listener := own_listener(address, listeners)) is not None:
            raise ConfigurationError(
                f"Edge(outbounds[{name!r}]) goes to {listener}, where this edge itself listens: its sessions would "
                "come back for ever"
            )
