"""Usage reports of an edge to its control plane."""

import attrs


@attrs.frozen(slots=True)
class Usage:
    """Totals of one service since it was added to the edge, and its present counts.

    Attributes:
        service: the name of the service.
        incarnation: a number that is unique within the epoch. A service that is removed and named again has a new one,
            and its totals start at 0.
        bytes_up: bytes delivered to the service's upstream.
        bytes_down: bytes delivered to the service's clients.
        opened: sessions that began as the service's, or moved to it from another service.
        live: live sessions.
        sources: addresses with a live session.
        listen_errors: why listeners that its policy names are not open, one line each.
    """

    service: str
    incarnation: int
    bytes_up: int
    bytes_down: int
    opened: int
    live: int
    sources: int
    listen_errors: tuple[str, ...] = ()


@attrs.frozen(slots=True)
class Report:
    """Totals of the services whose totals have changed.

    A control plane stores, for each (edge, epoch, service, incarnation), the usage with the highest sequence. The total
    of a service is the sum of its stored usages.

    Attributes:
        edge: the name of the edge, the same after a restart.
        epoch: the run of the edge; totals start at 0 in each.
        sequence: the number of the report, from 1 in each epoch.
        services: usage of each service.
    """

    edge: str
    epoch: str
    sequence: int
    services: tuple[Usage, ...]
