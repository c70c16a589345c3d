"""Which edge a command asks: ``--edge``, ``TRIOEDGE_EDGE``, or the only one of this machine."""

import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import trio
from cyclopts import Parameter

from ...addresses.address import Address, parse_address
from ...errors import ConfigurationError
from ...secrets import Secret, secret_text
from ..table import note, shown
from .client import EdgeClient
from .errors import UnreachableError

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it."""

USUAL: Final = ("/run/trioedge/*.sock", "/run/trioedge/*/*.sock", "/run/edge/*.sock", "/run/edge.sock")
"""Where the units and the examples of the guide put admin sockets."""

FILE: Final = "edge.toml"
"""A target in the current folder that need not be named."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Asked:
    """The options of every command that asks a serving edge."""

    edge: str | None = None
    """Its admin API: unix:///run/edge.sock, tcp://127.0.0.1:9100, or a target such as edge.toml, whose admin= is read.
    By default TRIOEDGE_EDGE, or else the only edge that is found."""

    token_file: str | None = None
    """A file with the token of the API. By default TRIOEDGE_TOKEN, or what the target says."""

    json: Annotated[bool, Parameter(negative="")] = False
    """Print JSON, as the API gives it."""

    def client(self) -> EdgeClient:
        """Make the client of the edge that is meant.

        Raises:
            ConfigurationError: no edge is named, or none can be; or its token cannot be read.
        """
        address, secret = find_edge(self.edge or os.environ.get("TRIOEDGE_EDGE") or None)
        token: str | None
        if self.token_file is not None:
            token = Secret(file=self.token_file).read()
        elif said := os.environ.get("TRIOEDGE_TOKEN"):
            token = said
        else:
            token = None if secret is None else secret_text(secret)
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ConfigurationError("the token has characters that HTTP cannot carry: it is another file, or broken")
        return EdgeClient(address, token)

    def run(self, act: Callable[[EdgeClient], Awaitable[int | None]]) -> int:
        """Run a command with the client until it ends or Ctrl-C is pressed, and give its exit code."""
        code: int | None = INTERRUPTED
        try:
            code = trio.run(_act, act, self.client())
        except* KeyboardInterrupt:
            pass
        return code or 0

    def print_json(self, answer: Any) -> None:
        """Print one JSON document, in a line of its own in a pipe."""
        print(json.dumps(answer, indent=2 if sys.stdout.isatty() else None))


async def _act(act: Callable[[EdgeClient], Awaitable[int | None]], client: EdgeClient) -> int | None:
    try:
        code = await act(client)
        if client.missing:
            workers = ", ".join(sorted(client.missing))
            note(f"worker {shown(workers)} did not answer in time: this is without what it has")
        return code
    except (LookupError, TypeError, AttributeError) as error:  # of reading an answer
        raise UnreachableError(
            f"{client.address} does not answer as this command reads it: its trioedge is of another version ({error!r})"
        ) from error


NOTHING_SAID: Final = Asked()
"""A command without any of these options."""


def find_edge(said: str | None) -> tuple[Address, "str | Secret | None"]:
    """Find the admin API that an option means, and the token that its target gives.

    Args:
        said: an address or a target; None for the only edge of this machine.

    Raises:
        ConfigurationError: there is none, or several.
    """
    if said is None:
        said = _only()
    if "://" in said or said.startswith("/") or said.rpartition(":")[2].isdecimal():  # or half an address
        return parse_address(said), None
    return _of_target(said)


def _only() -> str:
    root = Path("/")
    found = [f"unix://{path}" for place in USUAL for path in sorted(root.glob(place[1:])) if path.is_socket()]
    if not found and Path(FILE).is_file():
        found = [FILE]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(f"which edge? --edge {', or --edge '.join(found)}")
    raise ConfigurationError(
        "which edge? Say --edge unix:///run/edge.sock, as its admin= says, or --edge edge.toml; or set TRIOEDGE_EDGE"
    )


def _of_target(target: str) -> tuple[Address, "str | Secret | None"]:
    from ..target import load  # runs the user's file, and takes as long as a check

    admin = load(target).description.admin_listener
    if admin is None:
        raise ConfigurationError(f'{target}: the edge has no admin API: give it admin = "unix:///run/edge.sock"')
    if admin.address.scheme == "tcp" and not admin.address.port:
        raise ConfigurationError(f"{target}: {admin.listen} has a port that the system chooses: say --edge with it")
    return admin.address, admin.token
