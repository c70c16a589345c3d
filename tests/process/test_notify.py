"""The datagrams to a service manager: what each says, and that a manager that is gone harms no process."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from trioedge.process import notify


@pytest.fixture(params=["path", "abstract"])
def hearing(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    name = str(tmp_path / "n") if request.param == "path" else f"@trioedge-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0", 1))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield sock


def said(sock: socket.socket) -> list[str]:
    return sock.recv(4096).decode().split("\n")


def test_each_state_is_one_datagram(hearing: socket.socket) -> None:
    notify.starting("waits for\nits services")
    assert said(hearing) == ["EXTEND_TIMEOUT_USEC=30000000", "STATUS=waits for its services"]
    notify.ready("serving")
    assert said(hearing) == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=serving"]
    notify.reloading()
    first, second = said(hearing)
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdecimal()
    notify.stopping("draining", 2.5)
    assert said(hearing) == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=32500000", "STATUS=draining"]


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        (-29.5, ["EXTEND_TIMEOUT_USEC=500000"]),
        (-30, []),
        (-31, []),
        (float("inf"), ["EXTEND_TIMEOUT_USEC=1000000030000000"]),
    ],
)
def test_the_manager_waits_half_a_minute_beyond_the_deadline_and_no_longer(
    seconds: float, line: list[str], hearing: socket.socket
) -> None:
    notify.stopping("draining", seconds)
    assert said(hearing) == ["STOPPING=1", *line, "STATUS=draining"]


@pytest.mark.parametrize(
    ("usec", "pid", "fed", "beat"),
    [
        ("", "", False, 5.0),
        ("9000000", "", True, 3.0),
        ("9000000", str(os.getpid()), True, 3.0),
        ("9000000", "1", False, 5.0),
        ("60000000", "", True, 5.0),
        ("0", "", False, 5.0),
        ("soon", "", False, 5.0),
    ],
)
def test_the_watchdog_is_fed_three_times_in_its_time_if_it_is_this_process_s(
    usec: str, pid: str, fed: bool, beat: float, hearing: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    notify.ready("")
    assert ("WATCHDOG=1" in said(hearing)) is fed
    assert notify.beat_seconds() == beat


@pytest.mark.parametrize("path", ["", "relative", "vsock:2:1", "/nowhere/notify", "@nowhere", "/" + "x" * 200])
def test_without_a_manager_nothing_happens(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    notify.ready("serving")
    assert notify.is_wanted() is bool(path)


def test_a_manager_that_reads_nothing_stops_no_process(hearing: socket.socket) -> None:
    for _ in range(5_000):  # beyond max_dgram_qlen
        notify.ready("serving")
    assert "READY=1" in said(hearing)
