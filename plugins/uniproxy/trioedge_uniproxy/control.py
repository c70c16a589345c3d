"""The control plane: users become services, traffic and addresses go back to the panel.

| every | request | for |
| --- | --- | --- |
| pull interval, and at `reload` | `GET config` | the two intervals |
| the same | `GET user` | users and their limits: the services of the edge |
| the same | `GET alivelist` | devices on other nodes, which count against a limit |
| push interval, and when the last session has ended | `POST push` | bytes since the last push |
| the same | `POST alive` | addresses online here, and none for users that have left |
| the same | `POST status` | the load of the machine |

Nothing waits for the panel: a login, a device that comes, a report of the edge are answered from memory. While the
panel is down, slow or wrong, users and limits stay as they are, and bytes that were not sent wait.
"""

import random
import ssl
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Final, TypeVar

import trio
import trioedge as te

from .answers import DEFAULT_SECONDS, MAX_SECONDS, MIN_SECONDS, read_alive, read_intervals
from .arguments import OWNER, check_node_id, check_path, check_text, check_token, check_url, refuse
from .errors import PanelError
from .health import Health
from .panel import MAX_USER_BYTES, Panel
from .sender import Sender
from .users import Users, read_users

T = TypeVar("T")

FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 30.0

DENIED_SECONDS: Final = 5.0
"""How long a device is refused for which there was no place on all nodes; then it is judged anew."""


class UniProxyControl:
    """A control plane whose users a panel names by UniProxy, the node interface of V2board and Xboard.

    A user is a service whose name is the user's `id`, with its `speed_limit` and `device_limit`. ``Socks("services")``
    and ``HttpConnect("services")`` let a user in whose name and password are its `uuid`. Bytes and addresses go back to
    the panel. While the panel is down or wrong, the last users stay.

    One object is one node, so it serves one edge.
    """

    def __init__(
        self,
        url: str,
        token: str | te.Secret,
        node_id: int | str,
        *,
        node_type: str = "socks",
        path: str = "/api/v1/server/UniProxy",
        ca: str | None = None,
        plain_http: bool = False,
        allow_removal: bool = False,
        request_seconds: float = 10.0,
        pull_seconds: float | None = None,
        push_seconds: float | None = None,
    ) -> None:
        """Describe the panel; nothing is opened before the edge serves.

        Args:
            url: the address of the panel, ``https://panel.example``.
            token: the panel's token for nodes; never logged. A Secret is read for each request.
            node_id: the number of the node, as the panel lists it.
            node_type: the type of the node; empty for an interface that takes none.
            path: of the interface, behind the address.
            ca: a file of PEM certificates to trust in place of the system's.
            plain_http: allow ``http://`` to another machine than this one. Every machine on the way can then read the
                token and the users.
            allow_removal: whether the panel may remove all users at once, or more than half of them if these are more
                than 10. If not, such an answer is refused, because a panel that lost its data gives it as well.
            request_seconds: the time limit of one request with its answer, above 0 and at most 3,600.
            pull_seconds: between two questions for users, 5 to 3,600; None for what the panel says.
            push_seconds: between two pushes, 5 to 3,600; None for what the panel says.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        te.check_flag(OWNER, "plain_http", plain_http)
        te.check_flag(OWNER, "allow_removal", allow_removal)
        te.check_number(OWNER, "request_seconds", request_seconds, above=0, maximum=MAX_SECONDS)
        for name, seconds in (("pull_seconds", pull_seconds), ("push_seconds", push_seconds)):
            if seconds is not None:
                te.check_number(OWNER, name, seconds, minimum=MIN_SECONDS, maximum=MAX_SECONDS)
        self._url = check_url(url, plain_http=plain_http) + check_path(path)
        self._token = check_token(token)
        self._node_id = check_node_id(node_id)
        query = {"node_id": self._node_id}
        if check_text("node_type", node_type, empty=True):
            query["node_type"] = node_type
        if ca is not None and not (isinstance(ca, str) and ca):
            raise refuse(f"ca={ca!r}", "must be the path of a file of certificates")
        self._allow_removal = allow_removal
        self._given_pull, self._given_push = pull_seconds, push_seconds
        self._panel = Panel(self._url, self._read_token, query, partial(_trust, ca), request_seconds)
        self._sender = Sender(self._panel)
        self._pull_seconds, self._push_seconds = DEFAULT_SECONDS, DEFAULT_SECONDS
        self._users = Users()
        self._etags: dict[str, str] = {}
        self._present: dict[str, int] = {}
        """The number of devices online here, by user; no 0."""
        self._counts_devices = False
        """Whether an answer on devices of all nodes has come in this run."""
        self._asked = trio.Event()
        """Set by :meth:`reload`."""
        self._health: Health | None = None
        """Of the edge that runs; None while none does."""

    def __repr__(self) -> str:
        return f"UniProxyControl({self._url!r}, node_id={self._node_id!r})"

    def _read_token(self) -> str:
        token = self._token.read() if isinstance(self._token, te.Secret) else self._token
        if token.isprintable():
            return token
        raise te.ConfigurationError(f"{self._token!r} is no token: it has letters that cannot be printed")

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Pull users, and push what they used, until cancelled.

        After a cancel the connections are closed. Bytes of a push that was under way are not sent again.

        Raises:
            ConfigurationError: there is no token, the certificates cannot be read, or another edge has this object.
        """
        if self._health is not None:
            raise te.ConfigurationError(f"{self!r} is one node of the panel: make another one for each edge")
        self._read_token()
        self._etags.clear()  # the link may be a new edge's, which has no users
        self._counts_devices = False
        try:
            self._health = health = Health(link)
            async with self._panel.open(), trio.open_nursery() as nursery:
                await nursery.start(self._pull_on, health)
                task_status.started()
                while True:
                    await trio.sleep(self._given_push or self._push_seconds)
                    await self._sender.send(health, self._present)
        finally:
            self._health = None

    async def _pull_on(self, health: Health, *, task_status: trio.TaskStatus[None]) -> None:
        """Pull again and again; the task counts as started once there are users."""
        pause, started = FIRST_RETRY_SECONDS, False
        while True:
            self._asked = trio.Event()
            seconds = self._given_pull or self._pull_seconds
            if await self._try("user", self._pull_users, health):
                pause = FIRST_RETRY_SECONDS
                await self._try("config", self._pull_intervals, health)
                seconds = self._given_pull or self._pull_seconds
                if not started:
                    started = True
                    task_status.started()
                if not health.lacks("alivelist"):
                    await self._try("alivelist", self._pull_alive, health)
            else:
                seconds = min(pause * random.uniform(0.5, 1), seconds)
                pause = min(2 * pause, MAX_RETRY_SECONDS)
            with trio.move_on_after(seconds):
                await self._asked.wait()

    async def _try(self, what: str, pull: Callable[[Health], Awaitable[None]], health: Health) -> bool:
        """Pull something, and tell whether that went well; until it does, the last answer stays."""
        try:
            await pull(health)
        except te.SnapshotError as error:
            hint = "; if that is right, give UniProxyControl allow_removal" * ("allow_removal" in str(error))
            health.bad(what, f"GET {self._url}/{what}: the users are refused: {error}{hint}")
        except PanelError as error:
            asked = f"GET {self._url}/{what}"
            health.bad(what, error if str(error).startswith(asked) else PanelError(f"{asked}: {error}"))
        else:
            health.good(what)
            return True
        return False

    async def _pull_users(self, health: Health) -> None:
        answer = await self._panel.get("user", self._etags.get("user", ""), max_bytes=MAX_USER_BYTES)
        if answer is None:
            return
        try:
            text = answer.body.decode()
        except UnicodeDecodeError:
            raise PanelError("no JSON with a list of users") from None
        users = await _in_steps(read_users(text, self._users))
        await health.link.apply(te.Snapshot(users.services, version=answer.etag, allow_removal=self._allow_removal))
        self._sender.books.forget(users.removed)
        self._users = users
        self._etags["user"] = answer.etag

    async def _pull_intervals(self, health: Health) -> None:  # noqa: ARG002 - the shape of a pull
        answer = await self._panel.get("config", self._etags.get("config", ""))
        if answer is not None:
            self._pull_seconds, self._push_seconds = read_intervals(answer.body)
            self._etags["config"] = answer.etag

    async def _pull_alive(self, health: Health) -> None:
        """Learn which devices are on other nodes.

        The first answer may count addresses that an earlier run of this node told. So the panel is told to drop these,
        and the answer is not used.
        """
        answer = await self._panel.get("alivelist")
        alive = {} if answer is None else read_alive(answer.body, self._users.by_id)
        if self._counts_devices:
            self._sender.places.count(alive)
        else:
            self._counts_devices = True
            await self._sender.clear(health, alive)

    def reload(self) -> None:
        """Ask for users now."""
        self._asked.set()

    def service_of(self, user: str, /) -> str | None:
        """Return the service of a user that logs in with a `uuid`."""
        return self._users.ids.get(user)

    def came(self, service: str, device: str, /) -> None:
        """Refuse a device for which there is no place, because others of the user are online on other nodes."""
        self._present[service] = self._present.get(service, 0) + 1
        elsewhere = self._sender.places.elsewhere(service)
        if elsewhere and self._health is not None:
            link = self._health.link
            limit = link.rules(service).limit
            if limit is not None and elsewhere + len(link.online(service)) > limit:
                words = "as many devices as the user may have are online, some of them on other nodes"
                link.judge(service, device, te.DeviceVerdict(False, DENIED_SECONDS, words))

    def went(self, service: str, device: str, /) -> None:  # noqa: ARG002 - a protocol's shape
        """Note that a device has left."""
        self._present[service] -= 1
        if not self._present[service]:
            del self._present[service]

    async def report(self, report: te.Report, /) -> None:
        """Take the totals of the edge. They are pushed at the next interval, or now if no session is left.

        It raises nothing when the panel is down, because the books have the totals then.
        """
        books = self._sender.books
        books.add(report, self._users.by_id)
        if self._health is not None and not books.live:
            await self._sender.send(self._health, self._present, status=False)
        else:
            await trio.lowlevel.checkpoint()


async def _in_steps(steps: Generator[None, None, T]) -> T:
    """Take the steps of a generator, with other tasks in between, and return its value."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            value: T = stop.value
            return value
        await trio.lowlevel.checkpoint()


def _trust(ca: str | None) -> ssl.SSLContext:
    """Make the certificates to trust.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        why = "it has no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise refuse(f"ca={ca!r}", f"cannot be used: {why}") from None
