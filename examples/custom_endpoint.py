"""An endpoint of your own: the client's first line names a room, and its session goes to that room's upstream."""

from collections.abc import Mapping

import attrs
import trio

import trioedge as te


class Rooms:
    """Send a session to the upstream of the room that its first line names, as in ``shop``."""

    relays = True  # with the edge's relay, so rates, idle limits and evictions apply

    def __init__(self, upstreams: Mapping[str, str]) -> None:
        self.upstreams = dict(upstreams)

    def open(self, context: te.EdgeContext) -> "LiveRooms":
        return LiveRooms(context, self.upstreams)


@attrs.frozen
class LiveRooms:
    """The rooms of one run of one edge."""

    context: te.EdgeContext
    upstreams: Mapping[str, str]

    async def handle(self, session: te.Session) -> te.Outcome:
        said = b""
        with trio.move_on_after(3):
            while b"\n" not in said and len(said) < 64:
                if not (data := await session.stream.receive_some(64)):
                    break
                said += data
        room, newline, rest = said.partition(b"\n")
        upstream = self.upstreams.get(room.decode(errors="replace").strip())
        if not newline or upstream is None:
            return te.Reject(te.Reason.POLICY, "no such room")
        session.stream.unread(rest)
        return await self.context.relay(session, upstream)


edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[te.SessionGate(rate=200, burst=32), te.Pacing(down_rate="10 MB/s"), te.IdleTimeout(60)],
    endpoint=Rooms({"redis": "tcp://127.0.0.1:6379"}),
)

if __name__ == "__main__":
    te.run(edge)
