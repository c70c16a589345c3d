"""Programs in place of nft, the real nft, and the log of edges."""

import os
import shutil
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Write a program in the language of the shell, and give its path."""

    def write(body: str) -> str:
        path = tmp_path / "nft"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    """The lines of the edges' log."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def real_nft() -> str:
    """The path of the real nft; where there is none the test is skipped, or fails if every program must be there."""
    found = shutil.which("nft", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is not None:
        return found
    message = "needs nft, from the Debian package nftables"
    if os.environ.get("TRIOEDGE_REQUIRE_PEERS") == "1":
        pytest.fail(message)
    pytest.skip(message)
