"""A worker's connection to the control process.

| the worker is | event | action |
| --- | --- | --- |
| apart | the control process greets it | connected |
| apart | it cannot connect, or is not greeted | try again after a pause, which grows to two seconds |
| connected | the connection ends | keep everything; try again |
"""

import os
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio
from trio_util import AsyncValue

from ..services.control_plane import ControlPlane
from ..stages.devices.device_limit import DeviceLimit
from ..structures.backoff import Backoff
from ..telemetry.log import EdgeLog
from .messages.channel import Channel
from .messages.frames import ChannelError, Frames
from .messages.greeting import Hello, Welcome, greet
from .worker_control import Connected, WorkerControl

if TYPE_CHECKING:
    from ..edge import Edge

FIRST_RETRY_SECONDS: Final = 0.05
MAX_RETRY_SECONDS: Final = 2.0
"""Before another attempt to connect; a connection that lasts longer resets the pauses."""

CONNECT_SECONDS: Final = 2.0

Answer: TypeAlias = Callable[[str, str, Any], Awaitable[object]]
"""Answers a question of an operator: the name of an edge, an operation and its parameters. It returns JSON."""

Connect: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]


class HubMember:
    """One worker, as a part of several that a control process joins.

    Attributes:
        connection: to the control process, as an `AsyncValue`; None while there is none.
    """

    def __init__(
        self, edges: "Mapping[str, Edge]", address: str | bytes, secret: bytes, *, number: int, column: int,
        generation: int, connect: Connect | None = None,
    ) -> None:  # fmt: skip
        """Connect nowhere yet; :meth:`run` does.

        Args:
            edges: by name, composed as in the control process.
            address: of the control process's local socket; it begins with a NUL in the abstract namespace.
            secret: the 32 bytes to greet with.
            number: of the worker, from 0.
            column: of this process in shared tables; no other live process has it.
            generation: how many restarts came before this worker.
            connect: makes the connection instead, for a test.
        """
        self._address, self._secret = address, secret
        self._connect = self._connect_there if connect is None else connect
        self._hello = Hello(number, column, generation, os.getpid())
        self._log = EdgeLog()
        self.connection: AsyncValue[Connected | None] = AsyncValue(None)
        self._controls = {
            name: WorkerControl(name, edge, self.connection) for name, edge in edges.items() if _needs_control(edge)
        }

    @property
    def connected(self) -> bool:
        """Whether it is connected to a control process."""
        return self.connection.value is not None

    def control(self, name: str) -> ControlPlane | None:
        """Give what stands for the control plane of an edge; None for one that needs none, neither for its devices."""
        return self._controls.get(name)

    async def run(self, answer: Answer, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, and connect again, until cancelled; started at once.

        Args:
            answer: answers questions of operators; an exception of it is the answer, as text.
            task_status: started before the first attempt, because the services of the edges say when they are there.
        """
        task_status.started()
        backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)
        while True:
            began = trio.current_time()
            try:
                with trio.fail_after(CONNECT_SECONDS):
                    stream = await self._connect()
                await self._serve(Frames(stream), answer)
            except (OSError, ChannelError, trio.TooSlowError) as error:
                self._log.notice("worker cannot reach the control process", error=str(error))
            if trio.current_time() - began > MAX_RETRY_SECONDS:
                backoff.succeeded()
            await trio.sleep(backoff.failed())

    async def _connect_there(self) -> trio.abc.Stream:
        made = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            await made.connect(self._address)
        except BaseException:
            made.close()
            raise
        return trio.SocketStream(made)

    async def _serve(self, frames: Frames, answer: Answer) -> None:
        """Carry messages over one connection until it ends."""
        try:
            welcome = await greet(frames, self._secret, self._hello)
        except BaseException:
            await frames.close()
            raise
        messages = _Messages(self._controls, answer, welcome)
        channel = Channel(frames, messages.told, messages.answer, self._log)
        self.connection.value = Connected(channel, welcome)
        try:
            await channel.run()
        finally:
            self.connection.value = None


class _Messages:
    """Takes the messages of one connection."""

    def __init__(self, controls: Mapping[str, WorkerControl], answer: Answer, welcome: Welcome) -> None:
        self._controls, self._answer, self._welcome = controls, answer, welcome

    async def told(self, topic: str, body: Any) -> None:
        name, said = body
        control = self._controls.get(name)
        if control is not None:
            control.told(topic, said)

    async def answer(self, topic: str, body: Any) -> object:
        if topic == "ask":
            edge, operation, params = body
            return await self._answer(edge, operation, params)
        name, said = body
        control = self._controls.get(name)
        if control is None:
            raise ChannelError(f"the worker has no edge {name!r}")
        return await control.take(topic, said, self._welcome)


def _needs_control(edge: "Edge") -> bool:
    return edge.control is not None or any(isinstance(each, DeviceLimit) for each in edge.outline.parts)
