"""Reports of an edge."""

import trioedge as te


def report(epoch: str, *usage: tuple[str, int, int, int, int], sequence: int = 1) -> te.Report:
    """Make a report of (user, incarnation, up, down, live)."""
    return te.Report(
        "edge",
        epoch,
        sequence,
        tuple(te.Usage(uid, life, up, down, 1, live, live) for uid, life, up, down, live in usage),
    )
