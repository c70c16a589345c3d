"""A client of the admin API of one edge: JSON, lists page by page, and the event stream."""

import errno
import json
import os
import pwd
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import attrs
import h11
import trio

from ...addresses.address import Address
from ...admin.http.responses import MISSING
from .errors import AdminError, UnreachableError
from .events import EventReader
from .round_trip import ApiRequest, Body, RoundTrip

ANSWER_SECONDS: Final = 5.0
"""For a whole answer. An edge that needs longer has a stalled loop."""

SILENT_SECONDS: Final = 30.0
"""An event stream without a byte for so long is broken: an edge sends its statistics more often."""

PAGE: Final = 1000
"""The most items that the API gives at once."""


def path_of(*parts: str | int) -> str:
    """Write a path below ``/v1`` with every part quoted, because a name may have a slash."""
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


@attrs.frozen
class EdgeClient:
    """A serving edge, as its admin API shows it. Each call connects anew, so an edge may restart between two.

    Every call waits 5 s at most, and raises :class:`UnreachableError` if no answer came, or none in time, or none of an
    edge; and :class:`AdminError` if the edge answered with an error. A cancelled call has closed its connection.

    Attributes:
        address: of the admin API, a local socket or TCP.
        token: what the API wants to be sent; None for none.
        missing: the workers whose part answers so far have lacked, as the API names them: ``0, 3``.
    """

    address: Address
    token: str | None = attrs.field(default=None, repr=False)
    missing: set[str] = attrs.field(factory=set, init=False, repr=False, eq=False)

    async def get(self, path: str, **query: str | int | None) -> Any:
        """Read what is at `path`; parameters that are None are left out."""
        return await self.ask("GET", path, query=query)

    async def items(self, path: str, limit: int | None, **query: str | int | None) -> dict[str, Any]:
        """Read the first `limit` items of a list, page by page; None for all.

        Returns:
            ``{"items": […], "next": cursor}``, where the cursor is None if these are all.
        """
        items: list[Any] = []
        after = None
        while True:
            wanted = PAGE if limit is None else min(PAGE, limit - len(items))
            answer = await self.get(path, limit=wanted, after=after, **query)
            with self._in_words():
                items += answer["items"]
                after = answer.get("next")
            if after is None or (limit is not None and len(items) >= limit):
                return {"items": items, "next": after}

    async def check_service(self, name: str | None) -> None:
        """See that there is a service, so that a name with a mistake is no list of nothing; None is any.

        Raises:
            AdminError: there is none.
        """
        if name is not None:
            await self.get(path_of("services", name))

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: Body | None = None,
        seconds: float = ANSWER_SECONDS,
        allowed: int | None = None,
    ) -> Any:
        """Send one request, and give the JSON of its answer.

        Args:
            method: of HTTP.
            path: as :func:`path_of` writes it.
            query: parameters.
            body: an object, or the lines of a snapshot.
            seconds: for the whole answer.
            allowed: a status of errors whose answer is given all the same.
        """
        request = ApiRequest(method, path, query or {}, body, self.token)
        with self._in_words(), self._within(seconds):
            async with await self._connect() as stream:
                round_trip = RoundTrip(stream)
                await round_trip.send(request)
                status = await round_trip.status()
                raw = await round_trip.rest()
        if (missing := round_trip.headers.get(MISSING)) is not None:
            self.missing.update(missing.split(", "))
        return self._read(request, HTTPStatus.OK if status == allowed else status, raw)

    @asynccontextmanager
    async def events(self, path: str) -> AsyncGenerator[AsyncIterator[tuple[str, Any]]]:
        """Open the event stream at `path`: the name and the data of each event, until the edge ends the stream.

        To wait for an event raises :class:`UnreachableError` if the stream breaks, or is silent for 30 s.
        """
        request = ApiRequest("GET", path, token=self.token)
        with self._in_words(), self._within(ANSWER_SECONDS):
            stream = await self._connect()
        async with stream:
            round_trip = RoundTrip(stream)
            with self._in_words(), self._within(ANSWER_SECONDS):
                await round_trip.send(request)
                if (status := await round_trip.status()) != HTTPStatus.OK:
                    self._read(request, status, await round_trip.rest())
            async with aclosing(self._events(round_trip)) as events:
                yield events

    async def _events(self, round_trip: RoundTrip) -> AsyncGenerator[tuple[str, Any]]:
        reader = EventReader()
        while True:
            with self._in_words():
                with self._within(SILENT_SECONDS):
                    chunk = await round_trip.chunk()
                if chunk is None:
                    return
                found = [(name, json.loads(data)) for name, data in reader.feed(chunk)]
            for event in found:
                yield event

    async def _connect(self) -> trio.SocketStream:
        if self.address.scheme == "unix":
            return await trio.open_unix_socket(self.address.path)
        return await trio.open_tcp_stream(self.address.host, self.address.port)

    def _read(self, request: ApiRequest, status: int, raw: bytes) -> Any:
        """Give the JSON of an answer, or raise the error that it is."""
        try:
            answer = json.loads(raw)
            faults = tuple(map(str, answer.get("faults", ()))) if status >= HTTPStatus.BAD_REQUEST else ()
            says = str(answer.get("error") or "; ".join(faults)) if status >= HTTPStatus.BAD_REQUEST else ""
        except (ValueError, AttributeError, TypeError):
            raise UnreachableError(f"{self.address} is no admin API of trioedge: it answered {status}") from None
        if status < HTTPStatus.BAD_REQUEST:
            return answer
        asked = f"{request.method} {request.path}"
        if status == HTTPStatus.UNAUTHORIZED:
            mend = "this one is wrong" if self.token else "give it with --token-file FILE or TRIOEDGE_TOKEN"
            raise AdminError(f"{self.address} wants its token: {mend}", status)
        of_an_item = request.path.count("/") > 2
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED) and not of_an_item:
            raise AdminError(f"{self.address} has no {asked}: its trioedge is older than this command", status)
        raise AdminError(says or f"{self.address} answered {asked} with {status}", status, faults)

    @contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        try:
            with trio.fail_after(seconds):
                yield
        except trio.TooSlowError:
            raise UnreachableError(
                f"{self.address} did not answer within {seconds:g} s: its loop is stalled, or the machine is overloaded"
            ) from None

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Say what a fault of the connection means, and what mends it."""
        try:
            yield
        except (h11.RemoteProtocolError, ValueError, KeyError, TypeError) as error:
            raise UnreachableError(f"{self.address} is no admin API of trioedge: {error}") from None
        except trio.BrokenResourceError:
            raise UnreachableError(f"{self.address} closed the connection: the edge ends, or has ended") from None
        except OSError as error:
            raise UnreachableError(f"{self.address} {self._missing(error)}") from None

    def _missing(self, error: OSError) -> str:
        if isinstance(attempts := error.__cause__, ExceptionGroup):  # Trio's error of all attempts has no errno
            error = next((each for each in attempts.exceptions if isinstance(each, OSError)), error)
        match error.errno:
            case errno.ENOENT:
                return "is not there: the edge does not run, or has no admin= of this path; or name another with --edge"
            case errno.EACCES | errno.EPERM:
                return f"is not open to this user: run this as {self._owner()}"
            case errno.ECONNREFUSED:
                return "has no edge: it has ended, or listens elsewhere, as its admin= says"
        return f"has no edge: {error.strerror or error}"

    def _owner(self) -> str:
        """Name the user of a local socket, as after ``sudo -u``."""
        with suppress(OSError, KeyError):
            return pwd.getpwuid(os.stat(self.address.path).st_uid).pw_name  # noqa: PTH116 - the path is text
        return "the edge's user"
