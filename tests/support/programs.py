"""Real programs for tests: what a missing one means; run one, and read what it said."""

import os
import shutil
from pathlib import Path

import pytest
import trio

PROGRAMS = {
    "chromium": "chromium",
    "curl": "curl",
    "danted": "dante-server",
    "fish": "fish",
    "git": "git",
    "h2load": "nghttp2-client",
    "haproxy": "haproxy",
    "mandoc": "mandoc",
    "microsocks": "microsocks",
    "nc": "netcat-openbsd",
    "nft": "nftables",
    "nginx": "nginx",
    "openssl": "openssl",
    "promtool": "prometheus",
    "proxychains4": "proxychains4",
    "redis-benchmark": "redis-tools",
    "redis-cli": "redis-tools",
    "redis-server": "redis-server",
    "ssh": "openssh-client",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "tinyproxy": "tinyproxy-bin",
    "zsh": "zsh",
}
"""Program to the Debian package that has it."""


def need(program: str) -> None:
    """Skip the test where a program is missing; fail it where all of them must be there."""
    if shutil.which(program) is None:
        message = f"needs {program}, from the Debian package {PROGRAMS[program]}"
        if os.environ.get("TRIOEDGE_REQUIRE_PEERS") == "1":
            pytest.fail(message)
        pytest.skip(message)


async def output(*command: str | Path) -> str:
    """Run a program to its end and give what it said.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = await trio.run_process(list(command), capture_stdout=True, capture_stderr=True)
    return str(done.stdout.decode())
