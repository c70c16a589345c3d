"""Limits of the control groups that this process is in (cgroups(7), version 2 and 1)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")


def limits(controller: str, new: str, *old: str, cgroups: Path = CGROUPS, own: Path = OWN) -> Iterator[tuple[str, ...]]:
    """Yield what the files of a limit have, from the process's own group up to the root; nothing where there are none.

    Args:
        controller: such as ``memory``.
        new: the file of version 2, whose content is yielded alone.
        old: the files of version 1, whose contents are yielded together.
        cgroups: where the groups are mounted.
        own: names the groups of the process.
    """
    for line in _read(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        root, files = (cgroups / controller, old) if controllers else (cgroups, (new,))
        folder = root / path.lstrip("/")
        for each in (folder, *folder.parents):  # in a container the path may be the host's: then only the root is there
            texts = tuple(_read(each / file).strip() for file in files)
            if all(texts):
                yield texts
            if each == root:
                break


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
