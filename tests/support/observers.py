"""Observers that tests give to edges, and edges that have them."""

from typing import Any

import trio

import trioedge as te


class Keeps:
    """Keeps every batch."""

    def __init__(self) -> None:
        self.batches: list[te.Batch] = []

    async def observe(self, batch: te.Batch) -> None:
        await trio.lowlevel.checkpoint()
        self.batches.append(batch)

    @property
    def accepted(self) -> list[te.SessionStart]:
        return [start for batch in self.batches for start in batch.accepted]

    @property
    def ended(self) -> list[te.SessionEnd]:
        return [end for batch in self.batches for end in batch.ended]

    @property
    def changes(self) -> list[te.Change]:
        return [change for batch in self.batches for change in batch.changes]


class Sleeps(Keeps):
    """Keeps a batch and does not return for a while."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    async def observe(self, batch: te.Batch) -> None:
        await super().observe(batch)
        await trio.sleep(self.seconds)


class Raises(Keeps):
    """Keeps a batch and raises."""

    async def observe(self, batch: te.Batch) -> None:
        await super().observe(batch)
        raise LookupError("no collector")


@te.decision
def only_ours(session: te.Session) -> te.Verdict:
    return te.CONTINUE if session.source.startswith("192.0.2.") else te.Reject(te.Reason.POLICY, "not ours")


def observed(*observers: Any, **more: Any) -> te.Edge:
    """Make an edge that refuses sources other than 192.0.2.x."""
    return te.Edge("tcp://127.0.0.1:1", [only_ours], te.Forward("tcp://192.0.2.9:80"), observers=observers, **more)
