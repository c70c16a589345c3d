"""A link of a control plane whose snapshots take as long as a test wants."""

import trio

from tests.support.fake_link import FakeLink
from trioedge.services.snapshot import Plan, Snapshot


class SlowLink(FakeLink):
    """A link that ends the applying of each snapshot when it is told to, in order.

    Attributes:
        begun: the versions of the snapshots that were received.
        ends: by version, set when a snapshot may be applied.
        faults: by version, the fault to refuse a snapshot with, and its effect all the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.ends: dict[str, trio.Event] = {}
        self.faults: dict[str, Exception] = {}

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        await trio.lowlevel.checkpoint_if_cancelled()
        self.begun.append(snapshot.version)
        self._tell()
        if (end := self.ends.get(snapshot.version)) is not None:
            await end.wait()
        if (fault := self.faults.get(snapshot.version)) is not None:
            raise fault
        return await super().apply(snapshot)

    def slow(self, *versions: str) -> None:
        """Let the snapshots of these versions take until their events in `ends` are set."""
        self.ends |= {version: trio.Event() for version in versions}
