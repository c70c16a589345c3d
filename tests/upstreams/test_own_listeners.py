from pathlib import Path

import pytest
import trio

import trioedge as te
from trioedge.addresses.address import parse_address
from trioedge.addresses.listening import ListeningAddresses
from trioedge.testing import open_edge
from trioedge.upstreams.own_listeners import own_listener


def listening(*addresses: str) -> ListeningAddresses:
    return ListeningAddresses(parse_address(each) for each in addresses)


@pytest.mark.parametrize(
    ("destination", "listener"),
    [
        ("tcp://127.0.0.1:6380", "tcp://127.0.0.1:6380"),
        ("tcp://127.0.0.1:6380", "tcp://0.0.0.0:6380"),
        ("tcp://127.9.9.9:6380", "tcp://0.0.0.0:6380"),
        ("tcp://127.0.0.1:6380", "tcp://[::]:6380"),
        ("tcp://[::ffff:127.0.0.1]:6380", "tcp://127.0.0.1:6380"),
        ("tcp://0.0.0.0:6380", "tcp://127.0.0.1:6380"),
        ("tcp://0.0.0.0:6380", "tcp://0.0.0.0:6380"),
        ("tcp://localhost:6380", "tcp://127.0.0.1:6380"),
        ("tcp://LocalHost.:6380", "tcp://0.0.0.0:6380"),
        ("tcp://127.0.0.1:6380", "tcp://localhost:6380"),
        ("unix:///run/../run/edge.sock", "unix:///run/edge.sock"),
    ],
)
def test_a_destination_that_reaches_a_listener_is_found(destination: str, listener: str) -> None:
    assert own_listener(destination, listening("tcp://192.0.2.9:1", "tcp://192.0.2.9:6380", listener)) == listener


@pytest.mark.parametrize(
    ("destination", "listener"),
    [
        ("tcp://127.0.0.1:6381", "tcp://127.0.0.1:6380"),
        ("tcp://127.0.0.2:6380", "tcp://127.0.0.1:6380"),
        ("tcp://192.0.2.1:6380", "tcp://0.0.0.0:6380"),
        ("tcp://[2001:db8::1]:6380", "tcp://[::]:6380"),
        ("tcp://[::1]:6380", "tcp://0.0.0.0:6380"),
        ("tcp://edge.example:6380", "tcp://0.0.0.0:6380"),
        ("unix:///run/other.sock", "unix:///run/edge.sock"),
        ("unix:///run/edge.sock", "tcp://127.0.0.1:6380"),
        ("nonsense", "tcp://127.0.0.1:6380"),
        (7, "tcp://127.0.0.1:6380"),
        (None, "tcp://127.0.0.1:6380"),
    ],
)
def test_any_other_destination_is_none_of_the_edges(destination: object, listener: str) -> None:
    assert own_listener(destination, listening(listener)) is None


def test_a_link_to_the_socket_of_a_listener_is_found(tmp_path: Path) -> None:
    (tmp_path / "edge.sock").touch()
    (tmp_path / "link.sock").symlink_to(tmp_path / "edge.sock")
    listener = f"unix://{tmp_path}/edge.sock"
    assert own_listener(f"unix://{tmp_path}/link.sock", listening(listener)) == listener


async def test_an_endpoint_that_goes_to_its_own_edge_is_refused_at_start(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/edge.sock"
    edge = te.Edge(address, [], te.Forward(address))
    with pytest.raises(BaseExceptionGroup) as refusal:
        await edge.serve()
    error = refusal.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, te.ConfigurationError)
    assert str(error) == (
        f"Forward('{address}') goes to {address}, where this edge itself listens: its sessions would come back for ever"
    )


@pytest.mark.parametrize("preconnect", [0, 3])
async def test_a_policy_whose_outbound_is_the_edge_itself_is_a_fault_of_the_snapshot(preconnect: int) -> None:
    control = te.MemoryControl({"a": te.Policy(outbound="tcp://192.0.2.9:80")})
    edge = te.Edge("tcp://127.0.0.1:0", [te.Identify("a")], te.Forward(allow=["loopback"]), control=control)
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        (own,) = edge.addresses
        with pytest.raises(te.SnapshotError) as refusal:
            await control.put("b", te.Policy(outbound=own, preconnect=preconnect))
        assert str(refusal.value) == (
            f"services.b.outbound = '{own}' is {own}, where this edge itself listens: its sessions would come back for "
            "ever"
        )
        assert "b" not in edge.services
        await control.put("b", te.Policy(outbound="tcp://127.0.0.1:1"))
        nursery.cancel_scope.cancel()


async def test_a_rehearsal_listens_nowhere() -> None:
    edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://127.0.0.1:6380"))
    async with open_edge(edge):
        pass
