"""The demo's control plane: a child process that runs as long as the demo."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import trio

from ...control.child_process import child_process
from ...control.http_client import HttpClient, NoAnswerError, parse_url
from ...errors import ConfigurationError
from ...process.exit_code import how_ended
from ..words import amount
from .edge import CHECK_SECONDS
from .printed_lines import printed_lines
from .view import View

START_SECONDS: Final = 20.0
"""Until the control plane prints where it listens."""

ASK_SECONDS: Final = 3.0
"""For an answer to a request of the operator."""

Totals: TypeAlias = Mapping[str, int]
"""The usage of one service: ``bytes_up``, ``bytes_down``, and sessions ``opened``."""


class ControlProcess:
    """A control plane such as ``examples.control_plane`` in a child process, and a client in its operator's role.

    Attributes:
        token: its clients must bring it.
        url: where it listens, once it runs.
        pid: of the process, once it runs.
    """

    def __init__(self, module: str, services: Path, view: View) -> None:
        """Describe the process; :meth:`run` starts it.

        Args:
            module: the module to run, as after ``python -m``. It takes the options of ``examples.control_plane``.
            services: the file of services that the control plane reads. Its database is beside the file.
            view: shows the lines that the control plane prints, and that it has ended.
        """
        self._module = module
        self._services = services
        self._view = view
        self.token = secrets.token_urlsafe()
        self._operator: HttpClient | None = None
        self.url = ""
        self.pid = 0

    async def run(self, service: str, devices: str, *, task_status: trio.TaskStatus[None]) -> None:
        """Start the control plane, deny `devices` to `service`, and run until cancelled.

        The process is killed when this is cancelled. If the demo dies without a cancel, the control plane ends by
        itself, because its stdin ends.

        Raises:
            ConfigurationError: the control plane does not start; the message says why.
        """
        command: list[str | os.PathLike[str]] = [
            sys.executable, "-m", self._module, "--port", "0", "--services", self._services,
            "--database", self._services.with_name("control.db"), "--delay", str(CHECK_SECONDS), "--until-eof",
        ]  # fmt: skip
        async with child_process(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CONTROL_TOKEN": self.token},  # other users can read a command line, but no environment
            start_new_session=True,  # a Ctrl-C stops the demo alone, so that the last reports still arrive
        ) as process:
            self.pid = process.pid
            assert process.stdout is not None
            async with aclosing(printed_lines(process.stdout)) as lines:
                self.url = await self._address(lines)
                self._operator = HttpClient(parse_url(self.url), token=self.token, read_seconds=ASK_SECONDS)
                async with self._operator.open():
                    await self._deny(self._operator, service, devices)
                    task_status.started()
                    async for line in lines:
                        self._view.note(f"control plane: {line}")
                    code = await process.wait()
                    self._view.note(f"the control plane has ended ({how_ended(code)}); the services stay as they are")
                    await trio.sleep_forever()

    async def books(self, services: Iterable[str]) -> dict[str, Totals] | None:
        """Give the usage of services as the control plane knows it, or None if it does not answer."""
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
        said = f"it printed nothing in {START_SECONDS:g} s"
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
            raise ConfigurationError(f"--control-plane {self._module} refuses to deny a device: {error}") from None


def settled(services: Mapping[str, Mapping[str, Any]], books: Mapping[str, Totals] | None) -> str:
    """Say in words whether a control plane's books agree with the counts of an edge that has stopped.

    Args:
        services: of the edge by name, as its admin API gives them.
        books: the control plane's, or None if it does not answer.
    """
    keys = "bytes_up", "bytes_down", "opened"
    counted = {name: {key: each[key] for key in keys} for name, each in services.items()}
    if books is None:
        return f"The control plane has ended, and its books with it; the edge counted {_listed(counted)}."
    text = f"The control plane's books: {_listed(books)}; "
    if books == counted:
        return f"{text}to the byte what the edge counted."
    return f"{text}but the edge counted {_listed(counted)}."


def _listed(totals: Mapping[str, Totals]) -> str:
    return ", ".join(f"{name} {amount(used['bytes_up'] + used['bytes_down'])}" for name, used in totals.items())
