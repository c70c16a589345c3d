"""An observer of your own: counts sessions by their reasons, and the bytes, in a StatsD server."""

from collections import Counter

import attrs
import trio

import trioedge as te


@attrs.frozen
class StatsD:
    """Count in the server at `host`, an IP address, and `port`."""

    host: str = "127.0.0.1"
    port: int = 8125

    def open(self, _: te.EdgeContext) -> "LiveStatsD":
        return LiveStatsD((self.host, self.port))


class LiveStatsD:
    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket = trio.socket.socket(type=trio.socket.SOCK_DGRAM)

    async def observe(self, batch: te.Batch) -> None:
        """Send one packet with the counts of the batch."""
        counts = Counter({"edge.accepted": len(batch.accepted), "edge.lost": batch.lost})
        for end in batch.ended:
            counts[f"edge.{'refused' if end.refused else 'ended'}.{end.outcome.reason}"] += 1
            counts["edge.bytes_up"] += end.bytes_up
            counts["edge.bytes_down"] += end.bytes_down
        lines = "\n".join(f"{name}:{count}|c" for name, count in counts.items() if count)
        if lines:
            await self._socket.sendto(lines.encode(), self._address)

    def close(self) -> None:
        self._socket.close()


edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[te.SessionGate(rate=200, burst=32)],
    endpoint=te.Forward("tcp://127.0.0.1:6379"),
    observers=[StatsD()],
)

if __name__ == "__main__":
    te.run(edge)
