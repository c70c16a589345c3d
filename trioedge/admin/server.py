"""The admin API of one edge on its socket, with what it keeps meanwhile."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Final

import attrs
import trio

from ..loop.slices import Stepwise
from ..services.stage_keys import StageKeys
from ..serving.admin_listener import Admin
from ..serving.listening.bind import Bound, LocalSocket, bind
from ..telemetry.log import EdgeLog
from .asking import EdgeAsker, LocalAsker
from .controlling import Controlled, LocalControl
from .feed import Feed
from .history import History
from .http.api import AdminApi
from .local import Local
from .metrics.families import Families
from .metrics.scrape import Scrape
from .operations import LOCAL
from .own_answers import OwnAnswers

ONLY_ITS_USER: Final = 0o600
"""The permissions of a local socket."""


@attrs.frozen(eq=False)
class AdminServer:
    """The admin API on its socket.

    Attributes:
        admin: where it listens, and its token.
        asker: asks every process that serves the edge.
        controlled: the edge as a whole.
        log: for refused tokens and for faults.
        sockets: that listen already, which the caller closes; None to open them.
        beside: gives the metrics of this process, where it is not one of those that are asked.
    """

    admin: Admin
    asker: EdgeAsker
    controlled: Controlled
    log: EdgeLog
    sockets: Sequence[Bound] | None = None
    beside: Callable[[], Stepwise[Families]] | None = None

    async def serve(
        self, *, draining: Callable[[], Awaitable[None]] | None = None,
        task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED,
    ) -> None:  # fmt: skip
        """Answer until cancelled; then the socket is closed, and its file is removed if this has made it.

        Args:
            draining: an async function that returns when a successor may take the path of a local socket.
            task_status: started once it listens.

        Raises:
            ListenError: the system refuses the socket.
            ConfigurationError: the token cannot be read.
        """
        from ..endpoints.asgi.own_server import (
            serve_application,  # its import takes half of an edge's start, and few edges have an admin API
        )

        if self.admin.token is not None:
            self.admin.token.read()
        history, feed = History(self.asker, self.log), Feed(self.asker, self.controlled, self.log)
        own = OwnAnswers(self.asker, self.controlled, history, feed, self.admin.token is not None)
        scrape = Scrape(self.asker, self.controlled, self.admin.metrics_services, beside=self.beside)
        api = AdminApi(self.asker, self.log, {**own.table(), "metrics": scrape.answer}, self.admin.token)
        scrape.errors = feed.errors = api.errors
        with _listening(self.admin) if self.sockets is None else nullcontext(self.sockets) as sockets:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(history.run)
                nursery.start_soon(feed.run)
                if draining is not None:
                    nursery.start_soon(_allow_successor, draining, sockets)
                for each in sockets:
                    await nursery.start(serve_application, api, each.sock, self.log)
                task_status.started()


async def serve_local(
    admin: Admin, local: Local, stage_keys: StageKeys, end: Callable[[float | None], object], *,
    task_status: trio.TaskStatus[object],
) -> None:  # fmt: skip
    """Answer for an edge that this process serves alone, until cancelled; see :meth:`AdminServer.serve`."""

    async def draining() -> None:
        await local.phase.wait_value("draining")

    server = AdminServer(admin, LocalAsker(local, LOCAL), LocalControl(local, stage_keys, end), local.run.log)
    with local.recording():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(local.stall.run)
            await server.serve(draining=draining, task_status=task_status)
            nursery.cancel_scope.cancel()


@contextmanager
def _listening(admin: Admin) -> Iterator[Sequence[Bound]]:
    """Listen while the block lasts."""
    local = admin.address.scheme == "unix"
    sockets: list[Bound] = [LocalSocket(admin.address, mode=ONLY_ITS_USER)] if local else bind([admin.address])
    try:
        for each in sockets:
            each.listen()
        yield sockets
    finally:
        for each in sockets:
            each.close()


async def _allow_successor(draining: Callable[[], Awaitable[None]], sockets: Sequence[Bound]) -> None:
    await draining()
    for each in sockets:
        if isinstance(each, LocalSocket):
            each.allow_successor()
