"""The endpoint of one run of an edge: the application's lifespan, and its sessions."""

from typing import TYPE_CHECKING, Final

import trio

from ...services.context import EdgeContext
from ...session.session import Session
from ...session.verdict import Outcome, Reason
from .connection import Connection, Shared
from .hypercorn_protocols import HttpServer
from .lifespan import STOP_SECONDS, Lifespan
from .patience import Patience

if TYPE_CHECKING:
    from .asgi import Asgi

FIRST_SECONDS: Final = 1.0
"""How long a drain waits for the first request of a client that has connected."""


class LiveAsgi:
    """An application at work."""

    def __init__(self, recipe: "Asgi", context: EdgeContext) -> None:
        """Start nothing; :meth:`run` starts the application."""
        self._context = context
        self._lifespan = Lifespan(recipe.app, context.log)
        self._server = HttpServer(recipe.max_head_bytes)
        self._shared = Shared(
            application=recipe.app,
            server=self._server,
            state=self._lifespan.state,
            patience=Patience(recipe.head_seconds, recipe.keep_alive_seconds, recipe.write_seconds),
            max_head_bytes=recipe.max_head_bytes,
            reactor=context.reactor,
            log=context.log,
        )
        self._live: dict[Connection, Session] = {}
        self._emptied: trio.Event | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep the application's lifespan until cancelled; it ends behind the last session.

        Raises:
            ConfigurationError: the application says that its startup failed.
        """
        async with trio.open_nursery() as nursery:
            await self._lifespan.start(nursery)
            try:
                task_status.started()
                await self._context.wait_draining()
                await self._server.drain()
                for connection in list(self._live):
                    connection.rest(awaits_first=True)
                await trio.sleep(FIRST_SECONDS)
                for connection in list(self._live):
                    connection.rest()
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await self._end_sessions()
                    await self._lifespan.stop()

    async def handle(self, session: Session) -> Outcome:
        """Answer the requests of a session until it ends."""
        connection = Connection(session, self._shared)
        session.carrier = connection.client
        self._live[connection] = session
        try:
            return await connection.run()
        finally:
            del self._live[connection]
            if self._emptied is not None and not self._live:
                self._emptied.set()

    async def _end_sessions(self) -> None:
        """Cut the sessions that the edge has left, so that the application is shut down behind all of them."""
        for session in list(self._live.values()):
            session.cut(Reason.DRAINED)
        if self._live:
            self._emptied = trio.Event()
            with trio.move_on_after(STOP_SECONDS):
                await self._emptied.wait()
