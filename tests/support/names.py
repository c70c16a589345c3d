"""Name servers and a hosts file for tests of what resolves names."""

from pathlib import Path

import trio

from trioedge.upstreams.lookup import Failed, Found, Lookup

NO_HOSTS = Path("/nonexistent/hosts")
"""A hosts file without names."""


class FakeNames:
    """Name servers that answer as a test says: addresses, any other outcome, or None for no answer in time.

    Attributes:
        answers: by the first label of a name.
        asked: the names that were queried, in order.
    """

    def __init__(self, **answers: list[str] | Lookup | None) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def look_up(self, host: str, due: float) -> Lookup:
        self.asked.append(host)
        answer = self.answers[host.partition(".")[0]]
        if answer is None:
            await trio.sleep_until(due)
            return Failed("no answer in time")
        await trio.lowlevel.checkpoint()
        return Found(tuple(answer), 30.0) if isinstance(answer, list) else answer
