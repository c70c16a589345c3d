"""Tell one worker that there is something to do; telling twice before it looks is telling once."""

import trio


class Wakeup:
    """A level that one task waits for and takes down. Setting it costs a worker's wake-up at most once a turn."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """There is something to do."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until there is; a later :meth:`set` counts anew. After a cancel the level still stands."""
        await self._event.wait()
        self._event = trio.Event()
