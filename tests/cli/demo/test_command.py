"""The demo as a command, in a pipe and on a terminal."""

import os
import pty
import re
import signal
import socket
import subprocess
import termios

import pytest
import trio

import trioedge as te
from tests.support.command_line import COMMAND, PATIENCE, finished
from tests.support.demo import demo
from trioedge.cli import main


async def test_in_a_pipe_the_demo_prints_lines_until_a_signal() -> None:
    """It takes six seconds, because the demo is slow enough to be followed by eye."""
    async with demo() as watched:
        await watched.says(
            r"2 s: \d+ live, \d+ accepted, \d+ answered, video .* over 2 s, of 2 MB/s; refused: rate \d+"
        )
        await watched.says(r"evicted [1-9] sessions? of 127\.0\.0\.4")
        await watched.says(r"the device check denied 127\.0\.6\.1 after 0\.[3-9] s: 2 sessions cut")
        await watched.says(r"services\.toml gives video 6 MB/s: retunes 2 sessions; in force after")
        await watched.says(r"log: child died, and is replaced: worker \d, signal SIGKILL")
        await watched.says(r"worker \d killed, replaced in \d+ ms: its [1-9] sessions? lost, 0 others, 0 refused")
        watched.process.send_signal(signal.SIGINT)
        assert await watched.ends() == 0
    out = watched.said
    accepted = [int(each) for each in re.findall(r" (\d+) accepted", out)]
    assert accepted == sorted(accepted)
    asked = r"^SOCKS: alice logs in and asks for (.+)$"
    assert re.findall(asked, out, re.MULTILINE)[:3] == [
        "the upstream: succeeded, HTTP/1.1 200 OK",
        "169.254.169.254: not allowed",
        "a closed port: connection refused",
    ]
    answered, refused, denied, evicted = out.splitlines()[-1].split("; ")
    assert re.fullmatch(r"[1-9]\d* sessions cut by the device check", denied)
    assert re.fullmatch(r"[1-9]\d* requests answered", answered)
    assert re.fullmatch(r"\d+ sessions refused \(rate \d+, source \d+, concurrency \d+\)", refused)
    assert re.fullmatch(r"[1-9]\d* sessions evicted\.", evicted)


async def test_every_line_of_the_introduction_fits_eighty_columns() -> None:
    code, out, _ = await finished("demo", "--seconds", "0.1")
    introduction = out.partition("\n\n")[0].splitlines()
    assert code == 0
    assert len(introduction) == 7
    assert max(map(len, introduction)) <= 80


async def test_a_reader_that_closes_the_pipe_ends_the_demo() -> None:
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process([*COMMAND, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            await process.stdout.receive_some()
            await process.stdout.aclose()
            assert b"".join([chunk async for chunk in process.stderr]) == b""
            assert await process.wait() == te.ExitCode.FAULT
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await process.stderr.aclose()


async def test_on_a_terminal_the_demo_shows_a_table_until_a_signal() -> None:
    ours, theirs = pty.openpty()
    shown = b""
    try:
        termios.tcsetwinsize(theirs, (40, 80))  # with room for every session
        with trio.fail_after(3 * PATIENCE):
            process = await trio.lowlevel.open_process(
                [*COMMAND, "demo"], stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
            )
            os.close(theirs)
            try:
                while not re.search(rb"evicted 3 sessions of 127\.0\.0\.4", shown):
                    await trio.lowlevel.wait_readable(ours)
                    shown += os.read(ours, 65536)
                process.send_signal(signal.SIGINT)
                while b"sessions evicted." not in shown:
                    await trio.lowlevel.wait_readable(ours)
                    shown += os.read(ours, 65536)
                assert await process.wait() == 0
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
    finally:
        os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert "Ctrl-C ends them." in text
    assert re.search(r"\d+ +[01] +127\.0\.0\.4 +chat +relaying +\d\.\d s", text)
    assert re.search(r"refused +rate \d+, source \d+", text)
    assert "Traceback" not in text


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == te.ExitCode.LISTEN
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"trioedge: cannot listen on tcp://127.0.0.1:{port}: in use")
    assert error.count("\n") == 1


@pytest.mark.parametrize("options", [["--port", "70000"], ["--seconds", "0"], ["--seconds", "nan"]])
def test_wrong_options_are_one_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *options]) == te.ExitCode.CONFIGURATION
    assert capsys.readouterr().err.count("\n") == 1
