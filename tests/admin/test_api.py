"""The admin API as an application, and on its socket."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.wires import server
from trioedge.addresses.address import Address
from trioedge.admin.api import Admin
from trioedge.control.supervisor import ControlState
from trioedge.services.control_plane import SnapshotError
from trioedge.services.snapshot import Plan, Snapshot

STATE = ControlState("7", 1.5, 2, "", None, "", 3, 4)
LINES = b'{"version": "8", "full": true}\n{"name": "shop", "down_rate": 10}\n{"end": 1}\n'


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


SOCKET = Address("unix", path="/run/edge.sock")


class Asked:
    """An edge that answers what it is told to, and one request over ASGI."""

    def __init__(self, plan: Plan | SnapshotError) -> None:
        self.plan = plan
        self.snapshots: list[Snapshot] = []
        self.sent: list[dict[str, Any]] = []

    async def _plan(self, snapshot: Snapshot) -> Plan:
        self.snapshots.append(snapshot)
        if isinstance(self.plan, SnapshotError):
            raise self.plan
        return self.plan

    async def ask(self, method: str, path: str, body: bytes = b"", size: int = 10) -> tuple[int, Any]:
        events = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks(body, size)]
        events.append({"type": "http.request", "body": b"", "more_body": False})

        async def receive() -> dict[str, Any]:
            return events.pop(0)

        async def send(event: dict[str, Any]) -> None:
            self.sent.append(event)

        scope = {"type": "http", "method": method, "path": path}
        await Admin(self._plan, lambda: STATE, SOCKET)(scope, receive, send)
        start, end = self.sent
        return start["status"], json.loads(end["body"])


async def test_a_snapshot_is_answered_by_its_plan() -> None:
    asked = Asked(Plan(changed={"shop": ("down_rate",)}, retuned=812, evicted=3))
    status, answer = await asked.ask("POST", "/v1/plan", LINES)
    assert status == 200
    assert answer["says"] == "changes 1 service; retunes 812 sessions, evicts 3 sessions"
    assert (answer["retuned"], answer["evicted"], answer["changed"]) == (812, 3, 1)
    (snapshot,) = asked.snapshots
    assert (snapshot.version, snapshot.services["shop"].policy.down_rate) == ("8", 10)


async def test_a_snapshot_with_faults_is_answered_by_all_of_them() -> None:
    faults = ("services.a.session_rate = 0 must be above 0", "services.b has no key 'x'")
    assert await Asked(SnapshotError(faults)).ask("POST", "/v1/plan", LINES) == (422, {"faults": list(faults)})
    status, answer = await Asked(Plan()).ask("POST", "/v1/plan", b"nonsense\n")
    assert status == 422
    assert "does not begin with" in answer["faults"][0]


async def test_the_state_is_answered_as_json() -> None:
    assert await Asked(Plan()).ask("GET", "/v1/state") == (200, json.loads(json.dumps(attrs.asdict(STATE))))


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/plan"), ("POST", "/v1/state"), ("GET", "/")])
async def test_any_other_route_is_not_found(method: str, path: str) -> None:
    status, _ = await Asked(Plan()).ask(method, path)
    assert status == 404


async def test_the_socket_is_for_its_user_alone_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    control = te.MemoryControl({"default": te.Policy(down_rate=1_000)})
    async with server() as port, trio.open_nursery() as nursery:
        forward = te.Forward(f"tcp://127.0.0.1:{port}")
        edge = te.Edge("tcp://127.0.0.1:0", [te.Pacing()], forward, control=control, admin=f"unix://{path}")
        await nursery.start(edge.serve)
        assert path.stat().st_mode & 0o777 == 0o600
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
            body = LINES.replace(b"shop", b"default")
            answer = await client.post("http://edge/v1/plan", content=body)
            assert answer.json()["says"] == "changes 1 service; touches no session"
            assert (await client.get("http://edge/v1/state")).json()["services"] == 1
        assert edge.services["default"].policy.down_rate == 1_000, "a plan changes nothing"
        nursery.cancel_scope.cancel()
    assert not path.exists()


@pytest.mark.parametrize("fault", [None, SnapshotError(["no"])])
async def test_after_a_request_that_is_cancelled_no_plan_is_under_way(fault: SnapshotError | None) -> None:
    """The server closes the connection in the middle of an answer, so only the plan has to end."""
    planning = sent = 0

    async def plan(snapshot: Snapshot) -> Plan:
        nonlocal planning
        planning += 1
        try:
            await trio.lowlevel.checkpoint()
        finally:
            planning -= 1
        if fault is not None:
            raise fault
        return Plan(added=("shop",))

    async def ask() -> None:
        nonlocal sent
        sent, pieces = 0, list(chunks(LINES, 40))

        async def receive() -> dict[str, Any]:
            await trio.lowlevel.checkpoint()
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(event: dict[str, Any]) -> None:
            nonlocal sent
            await trio.lowlevel.checkpoint()
            sent += 1

        await Admin(plan, lambda: STATE, SOCKET)({"type": "http", "method": "POST", "path": "/v1/plan"}, receive, send)

    before = left_open()

    def check() -> None:
        assert (planning, left_open()) == (0, before)

    assert await cancel_at_every_step(ask, check) >= 8
    assert sent == 2


async def test_a_socket_in_a_missing_directory_is_a_listen_error(tmp_path: Path) -> None:
    address = Address("unix", path=str(tmp_path / "none" / "edge.sock"))
    admin = Admin(Asked(Plan())._plan, lambda: STATE, address)
    missing = pytest.RaisesExc(te.ListenError, match="cannot listen on unix:///.*No such file")
    with pytest.RaisesGroup(missing, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(admin.serve)


def test_a_network_address_is_refused() -> None:
    with pytest.raises(te.ConfigurationError, match="must be a local socket, as in unix:///run"):
        te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://127.0.0.1:1"), admin="tcp://127.0.0.1:9000")
