"""The admin API of a serving edge: JSON over HTTP on a local socket that only the edge's user can open.

``POST /v1/plan``, with the lines of a snapshot, gives the plan of that snapshot and applies nothing. ``GET /v1/state``
gives the state of the edge's connection to its control plane.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import trio
from trio_util import AsyncValue

from ..addresses.address import Address
from ..control.snapshot_lines import KnownLines, SnapshotReader
from ..control.supervisor import ControlState
from ..loop.slices import in_slices
from ..services.control_plane import SnapshotError
from ..services.snapshot import Plan, Snapshot
from ..services.stage_keys import NO_KEYS, StageKeys
from ..serving.listening.bind import LocalSocket

ONLY_ITS_USER: Final = 0o600
"""The socket's permissions."""

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@attrs.frozen
class Admin:
    """The admin API as an ASGI application.

    Attributes:
        plan: gives the plan of a snapshot; raises `SnapshotError` for a snapshot with faults.
        state: gives the state of the connection to the control plane.
        address: the local socket.
        stage_keys: the tables of a service that the stages of the edge read.
        phase: the edge's; when it drains, a successor may take the path, and until then this one answers.
    """

    plan: Callable[[Snapshot], Awaitable[Plan]]
    state: Callable[[], ControlState]
    address: Address
    stage_keys: StageKeys = NO_KEYS
    phase: AsyncValue[str] = attrs.field(factory=lambda: AsyncValue("serving"))

    async def serve(self, *, task_status: trio.TaskStatus[object]) -> None:
        """Answer on a local socket until cancelled; then the socket is closed, and its file is removed if it is ours.

        Raises:
            ListenError: the system refuses the socket.
        """
        from ..endpoints.asgi.hypercorn_protocols import (
            serve_listening,  # its import takes half of an edge's start, and few edges have an admin socket
        )

        socket = LocalSocket(self.address, mode=ONLY_ITS_USER)
        try:
            socket.listen()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._allow_successor, socket)
                await serve_listening(self, socket.sock, task_status=task_status)
        finally:
            socket.close()

    async def _allow_successor(self, socket: LocalSocket) -> None:
        await self.phase.wait_value("draining")
        socket.allow_successor()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])  # in ASGI: this application has no lifespan
        match scope["method"], scope["path"]:
            case "POST", "/v1/plan":
                status, answer = await self._plan(receive)
            case "GET", "/v1/state":
                status, answer = 200, attrs.asdict(self.state())
            case _:
                status, answer = 404, {"error": "there are POST /v1/plan and GET /v1/state"}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    async def _plan(self, receive: Receive) -> tuple[int, dict[str, Any]]:
        try:
            async with SnapshotReader(KnownLines(), self.stage_keys) as reader:
                more = True
                while more:
                    event = await receive()
                    await in_slices(reader.read(event.get("body", b"")))
                    more = event.get("more_body", False)
                plan = await self.plan(await in_slices(reader.finish()))
        except SnapshotError as error:
            return 422, {"faults": error.faults}
        counts = {"added": len(plan.added), "changed": len(plan.changed), "removed": len(plan.removed)}
        sessions = {"retuned": plan.retuned, "rechecked": plan.rechecked, "evicted": plan.evicted}
        return 200, {"says": str(plan), **counts, **sessions}
