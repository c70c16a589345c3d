import pytest

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
    assert te.Direct(proxy_protocol="v1") != te.Direct()
    assert repr(te.Direct(proxy_protocol="v2")) == "Direct(proxy_protocol='v2')"


@pytest.mark.parametrize("version", ["v3", "1", 2, True, ""])
def test_a_version_of_the_proxy_protocol_that_there_is_not_is_refused(version: object) -> None:
    with pytest.raises(te.ConfigurationError, match=r"^Direct\(proxy_protocol=.*\) must be 'v1' or 'v2'$"):
        te.Direct(proxy_protocol=version)  # type: ignore[arg-type]
