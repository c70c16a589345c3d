"""Services from a TOML file, for all edges: read at the start, and again whenever the file changes."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import trio

from trioedge.services.stage_keys import StageKeys

from .app import ControlPlane, faults_of

LOOK_SECONDS = 0.25


def read(path: Path, stage_keys: StageKeys) -> dict[str, Any]:
    """Read the table ``[services.NAME]`` of each service; blocks the thread while it reads.

    Raises:
        ValueError: every fault of the file.
        OSError: the file cannot be read.
    """
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not said:  # a file that was emptied, to be written anew, must not remove all services
        raise ValueError(f"{path}: has no table [services]: for no services, write an empty [services]")
    services = said.pop("services", {})
    if said or not isinstance(services, dict):
        raise ValueError(f"{path}: there are tables [services.NAME] and nothing else")
    if faults := [fault for name, settings in services.items() for fault in faults_of(name, settings, stage_keys)]:
        raise ValueError(f"{path}: {'; '.join(faults)}")
    return services


async def follow(path: Path, control: ControlPlane) -> None:
    """Replace the services by those of the file, whenever it changes; a faulty or missing file changes nothing.

    The file is read when two looks in a row have found the same state, so that half a write is not read.
    """
    known = before = None
    while True:
        now = _look(path)
        if now == before != known:
            known = now
            try:
                await control.replace(await trio.to_thread.run_sync(read, path, control.stage_keys))
            except (OSError, ValueError) as error:
                print(error, file=sys.stderr, flush=True)
        before = now
        await trio.sleep(LOOK_SECONDS)


def _look(path: Path) -> tuple[int, ...] | None:
    """Identify the state of the file; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
