"""Programs that are no nft: they hang, fail, and print nonsense."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
import trioedge as te

from trioedge_nft import program as module
from trioedge_nft.program import NftError, apply, find

Write: TypeAlias = Callable[[str], str]


async def failure(path: str, commands: str = "add table inet x\n") -> str:
    with pytest.raises(NftError) as raised:
        await apply(path, commands)
    return str(raised.value)


async def test_the_program_gets_the_commands(program: Write, tmp_path: Path) -> None:
    await apply(program(f'echo "$@" > {tmp_path}/arguments; cat > {tmp_path}/commands'), "one\ntwo\n")
    assert await trio.Path(tmp_path / "arguments").read_text() == "-f -\n"
    assert await trio.Path(tmp_path / "commands").read_text() == "one\ntwo\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("exit 3", " ended with 3"),
        ("kill -9 $$", " ended with -9"),
        ("echo /dev/stdin:1:7-9: Error: no such thing >&2; echo more >&2; exit 1", "no such thing"),
        ("echo first >&2; echo netlink: Error: denied >&2; exit 1", "denied"),
        (
            "echo Operation not permitted >&2; exit 1",
            "Operation not permitted, because the process and the programs that it starts need CAP_NET_ADMIN",
        ),
        ("printf '\\377\\000\\033[31m\\n' >&2; exit 1", "\N{REPLACEMENT CHARACTER}??[31m"),
        ("printf '\\n' >&2; exit 1", " ended with 1"),
    ],
)
async def test_a_failure_has_the_words_of_the_program(program: Write, body: str, words: str) -> None:
    path = program(body)
    assert (await failure(path)).removeprefix(path) == words


async def test_what_it_prints_is_not_read_and_success_is_success(program: Write) -> None:
    await apply(program("cat > /dev/null; yes | head -c 10000000; echo warning >&2"), "x" * 100_000)


async def test_a_program_that_reads_nothing_may_succeed(program: Write) -> None:
    await apply(program("exit 0"), "x" * 1_000_000)


async def test_a_program_that_says_too_much_is_killed(program: Write) -> None:
    assert await failure(program("yes >&2")) == "y"


async def test_a_program_that_hangs_is_killed(program: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.3)
    path = program(f"trap '' TERM; echo $$ > {tmp_path}/pid; while true; do sleep 0.05; done")
    assert await failure(path) == f"{path} did not end within 0.3 s"
    pid = int(await trio.Path(tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_cancel_kills_it_at_once(program: Write) -> None:
    path = program("trap '' TERM; while true; do sleep 0.05; done")
    began = time.monotonic()
    with trio.move_on_after(0.2) as limit:
        await apply(path, "")
    assert limit.cancelled_caught
    assert time.monotonic() - began < 3


async def test_a_program_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    assert await failure(str(tmp_path / "nft")) == f"{tmp_path}/nft: No such file or directory"


async def test_no_descriptor_stays_open(program: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    await failure(program("exit 1"))
    before = len(os.listdir("/proc/self/fd"))
    for body in ("exit 1", "sleep 5", "yes >&2", "exec /nowhere"):
        await failure(program(body))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_program_is_found_by_its_name_or_its_path(program: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program("")
    assert find(path) == path
    monkeypatch.setenv("PATH", str(Path(path).parent))
    assert find("nft") == path


def test_a_program_is_found_among_those_of_the_system(program: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program("")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(module, "PATH", str(Path(path).parent))
    assert find("nft") == path


def test_a_program_that_is_missing_is_named(monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(te.ConfigurationError) as raised:
        find("nft-of-another-world")
    assert str(raised.value) == (
        "NftBan: there is no program 'nft-of-another-world': install nftables, or give its path as program="
    )
