"""Try a skeleton in a process of its own, with its package installed without pip."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ...errors import EdgeError

SECONDS: Final = 300
"""For each trial, on a machine however busy."""

MAX_LINES: Final = 40
"""Of the output of a trial that failed; its end says why."""


class TrialError(EdgeError):
    """A skeleton does not work on this machine."""


def has_pytest() -> bool:
    """Return whether the tests of a skeleton can run: they need pytest and pytest-trio."""
    return find_spec("pytest") is not None and find_spec("pytest_trio") is not None


@contextmanager
def environment(folder: Path | None = None) -> Iterator[dict[str, str]]:
    """Give the environment of a process in which the package of a folder is installed, and this trioedge.

    Args:
        folder: has a pyproject.toml; None for no package.
    """
    path = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    with TemporaryDirectory() as installed:
        if folder is not None:
            _install(folder, Path(installed))
            path = [str(folder.resolve()), installed, *path]
        yield {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"}


def _install(folder: Path, installed: Path) -> None:
    """Write the metadata that pip would write."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    info = installed / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())])
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))


def try_out(folder: Path, env: dict[str, str], *arguments: str) -> str:
    """Run Python with some arguments in a folder; return its output.

    Raises:
        TrialError: it failed; the message has the end of its output.
    """
    try:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TrialError(f"{' '.join(arguments)} took longer than {SECONDS} s in {folder}") from None
    output = done.stdout + done.stderr
    if done.returncode:
        print(*output.splitlines()[-MAX_LINES:], sep="\n", file=sys.stderr)
        raise TrialError(f"{folder} was written, and does not work here: {' '.join(arguments)} failed, see above")
    return output
