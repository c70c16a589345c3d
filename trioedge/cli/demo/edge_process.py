"""The demo's edges: a child process with workers, and the client of its admin API."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import trio

from ...addresses.address import parse_address
from ...control.child_process import child_process
from ...errors import ConfigurationError, EdgeError, ListenError
from ...process.exit_code import ExitCode, how_ended
from ..client.client import EdgeClient
from . import program
from .control import ControlProcess
from .printed_lines import printed_lines
from .view import View

BAD: Final = ("error", "critical")
"""The levels of log lines that are shown."""

UNSHOWN: Final = ("event", "level", "timestamp", "edge", "pid", "pause")
"""Keys of log lines that are not shown behind the event."""


class EdgeProcess:
    """The program of the edges, and its admin API.

    Attributes:
        admin: the address of the API.
        client: of the API.
        addresses: where the edges listen, by name, once they do.
    """

    def __init__(self, folder: Path, view: View) -> None:
        """Describe the process; :meth:`run` starts it.

        Args:
            folder: has the file of services, and the socket of the API.
            view: shows the errors of its log.
        """
        self._folder, self._view = folder, view
        self.admin = f"unix://{folder / program.ADMIN}"
        self.client = EdgeClient(parse_address(self.admin))
        self.addresses: dict[str, str] = {}
        self._process: trio.Process | None = None
        self._stops = False

    async def run(self, port: int, control: ControlProcess | None, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the edges until :meth:`stop`; started when all workers serve. A cancel kills them.

        Args:
            port: of the first edge; 0 lets the system choose.
            control: their control plane; None to read the file.
            task_status: as of `nursery.start`.

        Raises:
            ConfigurationError: they do not start; the message says why.
            EdgeError: they have ended by themselves.
        """
        command = [sys.executable, "-m", program.__name__, str(self._folder), str(port)]
        env = dict(os.environ)
        if control is not None:
            command.append(control.url)
            env[program.TOKEN] = control.token
        async with child_process(
            command,
            stdin=subprocess.PIPE,  # its end ends them, however the demo has ended
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,  # a Ctrl-C stops the demo alone, which then stops the edges
        ) as process:
            self._process = process
            assert process.stdout is not None
            try:
                async with aclosing(printed_lines(process.stdout)) as lines:
                    await self._until_listening(process, lines)
                    task_status.started()
                    async for line in lines:
                        self._note(line)
                code = await process.wait()
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)  # the workers as well
        if not self._stops:
            raise EdgeError(f"the edge has ended: {how_ended(code)}")

    async def stop(self) -> None:
        """Drain the edges, and wait until they have ended and their last reports are sent."""
        assert self._process is not None
        self._stops = True
        self._process.send_signal(signal.SIGTERM)
        await self._process.wait()

    async def _until_listening(self, process: trio.Process, lines: AsyncIterator[str]) -> None:
        """Wait until each worker listens for each edge."""
        listening = 0
        said = "it printed nothing"
        async for line in lines:
            event = _event(line)
            if event.get("event") == "listening":
                self.addresses[event["edge"]] = event["addresses"][0]
                listening += 1
                if listening == 2 * program.WORKERS:
                    return
            elif not event or event["level"] in BAD:
                said = _in_words(event) if event else line.removeprefix("trioedge: ")
        failed = ListenError if await process.wait() == ExitCode.LISTEN else ConfigurationError
        raise failed(said)

    def _note(self, line: str) -> None:
        event = _event(line)
        if not event:
            self._view.note(f"log: {line}")
        elif event["level"] in BAD:
            self._view.note(f"log: {_in_words(event)}")


def _event(line: str) -> Mapping[str, Any]:
    """Read a line of the log; another line has no keys."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) and "level" in event else {}


def _in_words(event: Mapping[str, Any]) -> str:
    """Write an event of the log as a line for people."""
    values = [str(value) for key, value in event.items() if key not in UNSHOWN]
    return f"{event.get('event')}: {', '.join(values)}" if values else str(event.get("event"))
