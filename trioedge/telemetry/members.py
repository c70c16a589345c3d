"""The counts of a member of a balanced destination."""

import attrs


@attrs.frozen(slots=True)
class MemberCounts:
    """A member of a balanced destination, as one worker sees it.

    Attributes:
        group: the name of the destination among the edge's ``outbounds=``; empty for an endpoint's own.
        address: of the member, as text.
        state: ``well``, ``ejected``, ``returning`` or ``draining``.
        weight: its weight now; 0 while it gets no sessions but for want of others.
        live: sessions now.
        opened: sessions that were sent to it so far, those included that another member took over.
        failed: connects of sessions that failed so far.
    """

    group: str
    address: str
    state: str
    weight: float
    live: int
    opened: int
    failed: int
