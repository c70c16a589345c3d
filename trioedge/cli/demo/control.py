"""The demo's control plane: a program of its own, which is there for as long as the demo is."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

import trio

from ...control.http import HttpControl
from ...control.http_client import HttpClient, NoAnswerError
from ...errors import ConfigurationError
from ...services.service import Service
from ..words import amount
from .story import CHECK_SECONDS
from .view import View

START_SECONDS: Final = 20.0
"""Until it says where it listens."""

ASK_SECONDS: Final = 3.0
"""For an answer to an operator."""

Totals: TypeAlias = Mapping[str, int]
"""What a service used: ``bytes_up``, ``bytes_down``, and sessions ``opened``."""


class ControlProcess:
    """A control plane such as ``examples.control_plane`` in a process of its own, and its operator.

    Attributes:
        pid: of the process, once it runs.
    """

    def __init__(self, module: str, services: Path, view: View) -> None:
        """Describe it; :meth:`run` starts it.

        Args:
            module: its name, as after ``python -m``. It takes the options of ``examples.control_plane``.
            services: the file of services that it goes by. Its database is beside it.
            view: shows what it says, and that it has ended.
        """
        self._module = module
        self._services = services
        self._view = view
        self._token = secrets.token_urlsafe()
        self._operator: HttpClient | None = None
        self.pid = 0

    async def run(self, service: str, devices: str, *, task_status: trio.TaskStatus[HttpControl]) -> None:
        """Start it, have it deny `devices` to `service`, and give what an edge asks it by.

        It is gone when this is cancelled. If this process dies otherwise, it ends by itself, for its stdin does.

        Raises:
            ConfigurationError: it does not start; says why.
        """
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", self._module, "--port", "0", "--services", self._services,
             "--database", self._services.with_name("control.db"), "--delay", str(CHECK_SECONDS), "--until-eof"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CONTROL_TOKEN": self._token},  # where nobody else can read it
            start_new_session=True,  # a Ctrl-C is for the demo, which wants the last reports to arrive
        )  # fmt: skip
        self.pid = process.pid
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with process.stdin, process.stdout, aclosing(_lines(process.stdout)) as lines:
                url = await self._address(lines)
                self._operator = HttpClient(
                    "demo", url, token=self._token, ca=None, plain_http=False, connections=1, read_seconds=ASK_SECONDS
                )
                async with self._operator.open():
                    await self._deny(self._operator, service, devices)
                    task_status.started(HttpControl(url, token=self._token))
                    async for line in lines:
                        self._view.note(f"control plane: {line}")
                    code = await process.wait()
                    how = f"signal {-code}" if code < 0 else f"exit code {code}"
                    self._view.note(f"the control plane has ended ({how}); what it said last holds on")
                    await trio.sleep_forever()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    async def books(self, services: Iterable[str]) -> dict[str, Totals] | None:
        """Give what the services used as it has been told, or None if it does not answer."""
        assert self._operator is not None
        books: dict[str, Totals] = {}
        try:
            for name in services:
                path = f"/services/{quote(name, safe='')}/totals"
                async with self._operator.ask("GET", path, ASK_SECONDS) as answer:
                    books[name] = json.loads(b"".join([chunk async for chunk in answer.chunks]))
        except NoAnswerError:
            return None
        return books

    async def _address(self, lines: AsyncIterator[str]) -> str:
        said = f"it has said nothing in {START_SECONDS:g} s"
        with trio.move_on_after(START_SECONDS):
            async for line in lines:
                if line.startswith("http://"):
                    return line
                said = line
        raise ConfigurationError(f"--control-plane {self._module} does not start: {said}")

    async def _deny(self, operator: HttpClient, service: str, devices: str) -> None:
        try:
            async with operator.ask("PUT", f"/services/{service}/denied/{devices}", ASK_SECONDS, good=(204,)):
                pass
        except NoAnswerError as error:
            raise ConfigurationError(f"--control-plane {self._module} denies nobody: {error}") from None


def settled(services: Iterable[Service], books: Mapping[str, Totals] | None) -> str:
    """Say in words how a control plane's books agree with what an edge counted that has ended.

    Args:
        services: those that stayed since they came; one that came back has begun to count anew.
        books: what these used, or None if nobody knows any more.
    """
    counted = {
        service.name: {"bytes_up": service.up.bytes, "bytes_down": service.down.bytes, "opened": service.opened}
        for service in services
    }
    if books is None:
        return f"The control plane has ended, and its books with it; the edge counted {_listed(counted)}."
    text = f"The control plane's books: {_listed(books)}; "
    if books == counted:
        return f"{text}to the byte what the edge counted."
    return f"{text}but the edge counted {_listed(counted)}."


def _listed(totals: Mapping[str, Totals]) -> str:
    return ", ".join(f"{name} {amount(used['bytes_up'] + used['bytes_down'])}" for name, used in totals.items())


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncGenerator[str, None]:
    line = b""
    async for chunk in stream:
        *lines, line = (line + chunk).split(b"\n")
        for each in lines:
            yield each.decode(errors="replace")
