import trioedge as te
from tests.support.wires import connect, echo, receive_exactly, server, serving


async def test_an_endpoint_may_name_its_way_out() -> None:
    async with server(echo) as port:
        endpoint = te.Forward(f"tcp://127.0.0.1:{port}", outbound=te.Direct())
        async with serving(te.Edge("tcp://127.0.0.1:0", [], endpoint)) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"


def test_it_is_a_value() -> None:
    assert te.Direct() == te.Direct()
