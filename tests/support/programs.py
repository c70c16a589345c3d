"""Real programs for tests: run one, and read what it said."""

from pathlib import Path

import trio


async def output(*command: str | Path) -> str:
    """Run a program to its end and give what it said.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = await trio.run_process(list(command), capture_stdout=True, capture_stderr=True)
    return str(done.stdout.decode())
