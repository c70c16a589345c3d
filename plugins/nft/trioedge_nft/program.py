"""The program nft: found, and run once for each text of commands."""

import os
import shutil
import subprocess
from functools import partial
from typing import Final

import trio
import trioedge as te

SECONDS: Final = 5.0
"""How long nft may take. A thousand elements take it 50 ms."""

MAX_SAID: Final = 4_096
"""Bytes of its messages that are read."""

PATH: Final = f"{os.defpath}:/usr/sbin:/sbin"
"""Where nft is looked for behind the folders of PATH: ordinary users do not have those of system programs there."""


class NftError(Exception):
    """nft failed, and changed nothing; the message has its own words."""


def find(program: str) -> str:
    """Return the path of the program.

    Raises:
        ConfigurationError: there is none.
    """
    found = shutil.which(program) or shutil.which(program, path=PATH)
    if found is None:
        raise te.ConfigurationError(
            f"NftBan: there is no program {program!r}: install nftables, or give its path as program="
        )
    return found


async def apply(program: str, commands: str) -> None:
    """Have nft apply commands. After a cancel nft is killed at once, and may have applied them or not.

    Raises:
        NftError: it failed, said too much, or took too long.
    """
    said, code = b"", None
    with trio.move_on_after(SECONDS):
        try:
            said, code = await _run([program, "-f", "-"], commands.encode())
        except OSError as error:
            raise NftError(f"{program}: {error.strerror}") from None
    if code is None:
        raise NftError(f"{program} did not end within {SECONDS:g} s")
    if code != 0:
        raise NftError(_words(said) or f"{program} ended with {code}")


async def _run(command: list[str], given: bytes) -> tuple[bytes, int | None]:
    """Run a program to its end, and return its messages and its exit code; one that says too much is killed."""
    start = partial(
        trio.run_process, command, stdin=given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
        deliver_cancel=_kill,
    )  # fmt: skip
    failed: OSError | None = None
    said = b""
    async with trio.open_nursery() as nursery:
        try:
            process: trio.Process = await nursery.start(start)
        except OSError as error:  # raised below as it is, because the nursery would put it into a group
            failed = error
        else:
            assert process.stderr is not None
            async with process.stderr:
                while len(said) < MAX_SAID and (chunk := await process.stderr.receive_some(MAX_SAID)):
                    said += chunk
            if len(said) >= MAX_SAID:
                process.kill()
    if failed is not None:
        raise failed
    return said, process.returncode


async def _kill(process: trio.Process) -> None:
    process.kill()


def _words(said: bytes) -> str:
    """Return the first fault in the messages of nft, without the place in the commands, in one line."""
    lines = said[:MAX_SAID].decode(errors="replace").splitlines()
    line = next((line for line in lines if "Error" in line), lines[0] if lines else "")
    words = line.partition("Error: ")[2] or line
    if "not permitted" in words:
        words += ", because the process and the programs that it starts need CAP_NET_ADMIN"
    return "".join(letter if letter.isprintable() else "?" for letter in words.strip())[:200]
