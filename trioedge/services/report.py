"""What an edge reports to its control plane: totals of the services that changed."""

import attrs


@attrs.frozen(slots=True)
class Usage:
    """One service's totals since the edge started, and who is online.

    Attributes:
        service: its name.
        incarnation: which stay of the service on the edge; totals begin at 0 with each. Unique within the epoch.
        bytes_up: bytes handed to its upstream.
        bytes_down: bytes handed to its clients.
        opened: sessions begun, or come from another service.
        live: sessions now.
        sources: addresses with a live session now.
    """

    service: str
    incarnation: int
    bytes_up: int
    bytes_down: int
    opened: int
    live: int
    sources: int


@attrs.frozen(slots=True)
class Report:
    """Totals of the services that changed.

    A control plane keeps the usage with the highest sequence of each (edge, epoch, service, incarnation); the total of
    a service is the sum of what it keeps.

    Attributes:
        edge: which edge, a name that outlives its restarts.
        epoch: which run of it; totals begin at 0 with each.
        sequence: counts up from 1 within an epoch.
        services: their usage.
    """

    edge: str
    epoch: str
    sequence: int
    services: tuple[Usage, ...]
