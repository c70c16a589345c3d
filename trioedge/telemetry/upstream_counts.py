"""An upstream of an edge, as its operators see it."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs

from .connects import ConnectMeter


@attrs.frozen(slots=True)
class UpstreamCounts:
    """An upstream that an endpoint, a policy or a balanced destination names.

    Attributes:
        group: the name of the balanced destination among the edge's ``outbounds=``, or of the way out; else empty.
        address: of the upstream.
        healthy: whether its last connect succeeded; of a member, whether it gets sessions.
        connects: the counts of its connects.
        idle: connections that wait for a session.
    """

    group: str
    address: str
    healthy: bool
    connects: ConnectMeter
    idle: int


ListsUpstreams: TypeAlias = Callable[[], Iterator[UpstreamCounts]]
"""Gives upstreams one by one, in no order; some may come and go between two."""
