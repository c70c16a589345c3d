"""`trioedge doctor`: the examination of this machine, with the queues of a stand-in."""

import errno
import io
import os
import pty
import socket
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.command_line import COMMAND, PATIENCE, finished
from tests.support.network_namespace import in_a_new_network
from trioedge.cli import main
from trioedge.cli.doctor import command
from trioedge.cli.doctor.command import examine, nameservers
from trioedge.stages.pacing.fq import Interface, State


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Queues:
    """Stands in for `survey`, which with `fix` would change this machine."""

    def __init__(self, *states: State) -> None:
        self.states = states
        self.fixed: list[bool] = []

    def __call__(self, *, fix: bool) -> list[Interface]:
        self.fixed.append(fix)
        return [
            Interface(f"eth{number}", state not in ("loopback", "down"), "pfifo", state, f"the words for {state}")
            for number, state in enumerate(self.states)
        ]


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> Queues:
    stand_in = Queues("ready", "installed", "loopback", "down", "missing", "left alone", "kernel lacks it", "failed")
    monkeypatch.setattr("trioedge.stages.pacing.fq.survey", stand_in)
    return stand_in


def test_in_a_pipe_every_subject_is_a_line(queues: Queues, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert {mark for mark, _ in lines} <= {"ok", "note"}
    subjects = [text.split(": ")[0] for _, text in lines if not text.startswith("fq on ")]
    assert subjects == [
        "versions", "sockets", "workers", "steering", "pacing", "open files", "memory", "backlog", "half-open",
        "moving clients", "IPv6", "names",
    ]  # fmt: skip
    assert "ok      pacing: kernel: " in out
    assert queues.fixed == [False]


def test_a_queue_that_could_be_better_is_a_note(queues: Queues, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "fq on" in line]
    assert [line.split()[0] for line in lines] == ["ok"] * 4 + ["note"] * 4
    assert lines[-1] == "note    fq on eth7: failed: the words for failed"


def test_with_fix_the_queue_fq_is_put_in_place(queues: Queues) -> None:
    assert main(["doctor", "--fix"]) == 0
    assert queues.fixed == [True]


def test_on_a_terminal_the_findings_are_a_table(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert main(["doctor"]) == 0
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    (pacing,) = (line for line in lines if "pacing " in line)
    assert pacing.index("kernel: ") == lines[0].index("trioedge")
    assert pacing.startswith("ok")


def test_where_sockets_take_no_rate_the_timeline_paces(
    queues: Queues, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trioedge.stages.pacing.fq.pacing_support", lambda: "timeline")
    assert main(["doctor"]) == 0
    assert "note    pacing: timeline: " in capsys.readouterr().out


def test_a_machine_where_no_socket_listens_is_a_problem_and_exit_code_1(
    queues: Queues, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(socket.socket, "listen", refuse)
    assert main(["doctor"]) == 1
    assert "problem sockets: this process cannot listen: Operation not permitted\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "mark", "says"),
    [
        ("# mine\nnameserver 192.0.2.53\nsearch example.test\nnameserver  2001:db8::53 \n", "ok",
         "2 servers: 192.0.2.53, 2001:db8::53"),
        ("nameserver 192.0.2.53", "ok", "1 server: 192.0.2.53"),
        ("#nameserver 192.0.2.53\nnameserver\n", "note", "/etc/resolv.conf names no server"),
        ("", "note", "/etc/resolv.conf names no server"),
    ],
)  # fmt: skip
def test_name_servers_are_read_from_resolv_conf(text: str, mark: str, says: str) -> None:
    found = nameservers(text)
    assert found.mark == mark
    assert found.text.startswith(says)


def test_a_network_without_a_route_is_a_note() -> None:
    found = in_a_new_network(lambda: {each.subject: each for each in examine(fix=False)})
    assert found["IPv6"].mark == "note"
    assert found["IPv6"].text.startswith("no way out (")
    assert found["fq on lo"].text.startswith("loopback: ")
    assert found["sockets"].mark == "ok"


def test_a_backlog_that_cannot_be_read_is_a_note(
    queues: Queues, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("BACKLOG", "NAMESERVERS"):
        monkeypatch.setattr(command, name, Path("/proc/none"))
    assert main(["doctor"]) == 0
    assert "note    backlog: not known: /proc/sys/net/core/somaxconn cannot be read\n" in capsys.readouterr().out


async def test_the_command_runs_on_this_machine() -> None:
    code, out, error = await finished("doctor")
    assert (code, error) == (0, "")
    assert "fq on lo: loopback" in out


async def test_a_real_terminal_gets_colours() -> None:
    ours, theirs = pty.openpty()
    try:
        termios.tcsetwinsize(theirs, (24, 80))
        with trio.fail_after(PATIENCE):
            await trio.run_process(
                [*COMMAND, "doctor"], stdin=subprocess.DEVNULL, stdout=theirs, env={**os.environ, "TERM": "xterm"}
            )
        shown = os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"\x1b[32mok" in shown
    assert b"\x1b[1mpacing" in shown
