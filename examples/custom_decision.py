"""A decision of your own: a client that leaves without having sent a byte is not let in again for a minute."""

import attrs

import trioedge as te


@attrs.frozen
class SilenceBan:
    """Refuse sources that connect and leave in silence, as scanners do. One dict look-up; bounded; cannot wait."""

    seconds: float = 60.0
    capacity: int = 10_000

    kind = "decision"

    def open(self, _: te.EdgeContext) -> "LiveSilenceBan":
        return LiveSilenceBan(self)


class LiveSilenceBan:
    """The bans of one run of one edge."""

    def __init__(self, recipe: SilenceBan) -> None:
        self._recipe = recipe
        self._until: dict[bytes, float] = {}

    def decide(self, session: te.Session) -> te.Verdict:
        if session.now < self._until.get(session.source_key, 0.0):
            return te.Reject(te.Reason.POLICY, "left in silence a moment ago")
        session.defer(self._look_back)
        return te.CONTINUE

    def _look_back(self, session: te.Session) -> None:
        """Called when the session has ended, however it ended."""
        if session.outcome == te.Completed() and session.bytes_up == 0:
            self._until.pop(session.source_key, None)
            if len(self._until) >= self._recipe.capacity:
                del self._until[next(iter(self._until))]  # the oldest ban
            self._until[session.source_key] = session.now + self._recipe.seconds


edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[SilenceBan(), te.SessionGate(rate=200, burst=32)],
    endpoint=te.Forward("tcp://127.0.0.1:6379"),
)

if __name__ == "__main__":
    te.run(edge)
