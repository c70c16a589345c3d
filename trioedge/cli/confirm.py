"""A question on a terminal before something that cannot be undone."""

import sys

import trio


async def confirmed(question: str, yes: bool) -> bool:
    """Ask on the terminal, and give whether the answer is yes; without a terminal or with `yes` it is.

    Ctrl-C, and the end of the input, are a no.
    """
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    await trio.lowlevel.wait_readable(sys.stdin.fileno())
    return sys.stdin.readline().strip().lower() in ("y", "yes")
