"""What every test lives by: real programs that are there, or a skip that names the Debian package."""

import os
import shutil

import pytest

PROGRAMS = {
    "curl": "curl",
    "danted": "dante-server",
    "git": "git",
    "h2load": "nghttp2-client",
    "haproxy": "haproxy",
    "microsocks": "microsocks",
    "nc": "netcat-openbsd",
    "nginx": "nginx",
    "openssl": "openssl",
    "proxychains4": "proxychains4",
    "redis-benchmark": "redis-tools",
    "redis-cli": "redis-tools",
    "redis-server": "redis-server",
    "ssh": "openssh-client",
    "tinyproxy": "tinyproxy-bin",
}
"""Program to the Debian package that has it."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("peer"):
        for program in marker.args:
            if shutil.which(program) is None:
                message = f"needs {program}, from the Debian package {PROGRAMS[program]}"
                if os.environ.get("TRIOEDGE_REQUIRE_PEERS") == "1":
                    pytest.fail(message)
                pytest.skip(message)
