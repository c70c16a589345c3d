"""An outbound of your own: connections to upstreams leave this machine from one of its addresses."""

import attrs
import trio

import trioedge as te


@attrs.frozen
class FromAddress:
    """Connect from `source`, an address of this machine."""

    source: str

    async def connect(self, address: te.Address) -> trio.SocketStream:
        return await trio.open_tcp_stream(address.host, address.port, local_address=self.source)


edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[te.SessionGate(rate=200, burst=32)],
    endpoint=te.Forward("tcp://127.0.0.1:6379", outbound=FromAddress("127.0.0.1")),
)

if __name__ == "__main__":
    te.run(edge)
