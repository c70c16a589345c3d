"""Services out of a file of TOML, for all edges: read at the start, and again whenever it has changed."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import trio

from .app import ControlPlane, faults_of

LOOK_SECONDS = 0.25


def read(path: Path) -> dict[str, Any]:
    """Give what the file says of each service, ``[services.NAME]``; blocks while it reads.

    Raises:
        ValueError: the file has faults, all of which are named.
        OSError: it cannot be read.
    """
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not said:  # a file that somebody has emptied to write it anew is not the end of all services
        raise ValueError(f"{path}: has no table [services]: for no services, write an empty [services]")
    services = said.pop("services", {})
    if said or not isinstance(services, dict):
        raise ValueError(f"{path}: there are tables [services.NAME] and nothing else")
    if faults := [fault for name, settings in services.items() for fault in faults_of(name, settings)]:
        raise ValueError(f"{path}: {'; '.join(faults)}")
    return services


async def follow(path: Path, control: ControlPlane) -> None:
    """Let the services be those of the file, whenever it changes; one with faults, or none, changes nothing.

    A change is read once two looks have seen the same, so that a file that is just being written is left alone.
    """
    known = before = None
    while True:
        now = _look(path)
        if now == before != known:
            known = now
            try:
                await control.replace(await trio.to_thread.run_sync(read, path))
            except (OSError, ValueError) as error:
                print(error, file=sys.stderr, flush=True)
        before = now
        await trio.sleep(LOOK_SECONDS)


def _look(path: Path) -> tuple[int, ...] | None:
    """Tell one state of the file from another; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
