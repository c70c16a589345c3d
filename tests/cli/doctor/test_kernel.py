"""What the doctor says of clients that wait, and of steering, for each state of the kernel."""

import errno
from typing import Any

import pytest

from tests.support.open_files import open_files
from trioedge.cli.doctor import kernel
from trioedge.cli.doctor.kernel import backlog, half_open, migration, steering
from trioedge.loop.steering import steer


@pytest.mark.parametrize(
    ("text", "mark", "says"),
    [
        ("4096\n", "ok", "4,096 connections may wait to be accepted"),
        ("1024", "ok", "1,024 connections"),
        ("128\n", "note", "only 128 connections may wait to be accepted; sysctl net.core.somaxconn=4096"),
        ("", "note", "not known: /proc/sys/net/core/somaxconn"),
    ],
)
def test_a_short_backlog_is_a_note(text: str, mark: str, says: str) -> None:
    found = backlog(text)
    assert found.mark == mark
    assert found.text.startswith(says)


@pytest.mark.parametrize(
    ("text", "mark", "says"),
    [
        ("2048\n", "ok", "2,048 connections may be half-open"),
        ("256", "ok", "256 connections may be half-open"),
        (
            "255",
            "note",
            "only 255 connections may be half-open, beyond which the kernel drops or encodes them;",
        ),
        ("", "note", "not known: /proc/sys/net/ipv4/tcp_max_syn_backlog"),
    ],
)
def test_few_half_open_connections_are_a_note(text: str, mark: str, says: str) -> None:
    found = half_open(text)
    assert found.mark == mark
    assert found.text.startswith(says)


@pytest.mark.parametrize(
    ("text", "mark", "says"),
    [
        ("1\n", "ok", "a client that waits for a socket that is closed moves to another worker's"),
        ("0\n", "note", "a client that waits for a socket that is closed is reset; sysctl net.ipv4.tcp_migrate_req=1"),
        ("", "note", "this kernel has no net.ipv4.tcp_migrate_req"),
    ],
)
def test_waiting_clients_that_do_not_move_are_a_note(text: str, mark: str, says: str) -> None:
    found = migration(text)
    assert found.mark == mark
    assert found.text.startswith(says)


def test_this_kernel_steers_and_nothing_stays_open() -> None:
    before = open_files()
    assert steering().mark == "ok"
    assert open_files() == before


def test_a_kernel_that_refuses_the_program_is_a_note_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr(kernel, "steer", refuse)
    found = steering()
    assert found.mark == "note"
    assert found.text.startswith("the kernel refuses it (Protocol not available), so limits by source hold with one")


def test_a_kernel_that_does_not_follow_the_program_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    first = b"".join([kernel.ALWAYS_THE_SECOND[:4], bytes(4)])
    monkeypatch.setattr(kernel, "steer", lambda sock, _: steer(sock, first))
    assert steering().text == "the kernel takes a program and does not follow it; use one worker"
