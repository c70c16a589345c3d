"""The routes: three for edges, and a few for operators with curl."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import trio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trioedge.control.settings import check_entries, read_settings
from trioedge.errors import Faults
from trioedge.services.stage_keys import NO_KEYS, StageKeys

from .store import Store

MAX_WAIT_SECONDS = 60
MAX_NAME_LETTERS = 255

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


def faults_of(name: str, settings: object, stage_keys: StageKeys) -> list[str]:
    """Give every fault of a service; because of one, an edge would refuse the whole snapshot."""
    path, faults = f"services.{name}", Faults()
    read, found = read_settings(settings, path, stage_keys)
    faults.extend(found)
    check_entries(read.policy, path, faults)
    if not name.isprintable() or len(name) > MAX_NAME_LETTERS:
        faults.note(f"{path}: a name is at most {MAX_NAME_LETTERS} letters that can be printed")
    return list(faults)


class ControlPlane:
    """The handlers. They share a store, which runs in a thread, and an event that wakes requests that wait for news."""

    def __init__(self, store: Store, *, token: str = "", delay: float = 0.0, stage_keys: StageKeys = NO_KEYS) -> None:
        """Serve a store.

        Args:
            store: the services, devices and usage.
            token: the bearer token that requests must have; empty for none.
            delay: seconds before a device check is answered, to see how an edge copes.
            stage_keys: the tables that the stages of the edges read.
        """
        self.stage_keys = stage_keys
        self._store = store
        self._token = token
        self._delay = delay
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._news = trio.Event()

    def app(self) -> Starlette:
        """Give the ASGI application."""
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "/v1/snapshot", self.snapshot),
            ("POST", "/v1/devices/check", self.check),
            ("POST", "/v1/report", self.report),
            ("PUT", "/services/{name}", self.put),
            ("DELETE", "/services/{name}", self.delete),
            ("GET", "/services/{name}/totals", self.totals),
            ("PUT", "/services/{name}/period", self.period),
            ("PUT", "/services/{name}/denied/{device:path}", self.deny),
            ("DELETE", "/services/{name}/denied/{device:path}", self.deny),
        ]
        return Starlette(routes=[Route(path, self._guarded(does), methods=[verb]) for verb, path, does in routes])

    def _guarded(self, handler: Handler) -> Handler:
        wanted = f"Bearer {self._token}".encode()

        async def guarded(request: Request) -> Response:
            shown = request.headers.get("Authorization", "").encode()
            if self._token and not hmac.compare_digest(shown, wanted):
                return Response("the token is wrong\n", 401, {"WWW-Authenticate": "Bearer"})
            try:
                return await handler(request)
            except ClientDisconnect:  # the edge has closed the connection, and reads no answer
                return Response(status_code=400)
            except (KeyError, OverflowError, TypeError, ValueError) as error:  # malformed JSON is a ValueError
                return Response(f"{type(error).__name__}: {error}\n", 400)

        return guarded

    async def _do(self, work: Callable[..., T], *arguments: Any) -> T:
        return await trio.to_thread.run_sync(partial(work, *arguments), limiter=self._one_at_a_time)

    async def snapshot(self, request: Request) -> Response:
        """Give the changes since the version that the edge has; wait for a change if there is none."""
        since = request.headers.get("If-None-Match", "").strip('"')
        with trio.move_on_after(min(float(request.query_params.get("wait", 0)), MAX_WAIT_SECONDS)):
            while self._store.version == since:
                await self._news.wait()
        if self._store.version == since:
            return Response(status_code=304, headers={"ETag": f'"{since}"'})
        version, lines = await self._do(self._store.snapshot, since)
        return Response(lines, media_type="application/x-ndjson", headers={"ETag": f'"{version}"'})

    async def check(self, request: Request) -> Response:
        """Check whether a device may use a service."""
        asked = await request.json()
        service, device = str(asked["service"]), str(asked["device"])
        await trio.sleep(self._delay)
        return JSONResponse(await self._do(self._store.check, service, device))

    async def report(self, request: Request) -> Response:
        """Store a report of usage, and acknowledge it when it is on the disk."""
        report = await request.json()
        await self._change(self._store.report, report)
        return JSONResponse({"acknowledged": report["sequence"]})

    async def put(self, request: Request) -> Response:
        """Add a service or replace its settings; settings with faults change nothing."""
        name, settings = request.path_params["name"], await request.json()
        if faults := faults_of(name, settings, self.stage_keys):
            return JSONResponse({"faults": faults}, 422)
        await self._change(self._store.put, name, settings)
        return Response(status_code=204)

    async def delete(self, request: Request) -> Response:
        """Remove a service."""
        await self._change(self._store.put, request.path_params["name"], None)
        return Response(status_code=204)

    async def replace(self, services: Mapping[str, Any]) -> None:
        """Replace all services; the new ones must have no faults."""
        await self._change(self._store.replace, services)

    async def _change(self, work: Callable[..., None], *arguments: Any) -> None:
        await self._do(work, *arguments)
        self._news.set()
        self._news = trio.Event()

    async def totals(self, request: Request) -> Response:
        """Give the usage of a service, over all edges and all their runs."""
        return JSONResponse(await self._do(self._store.totals, request.path_params["name"]))

    async def period(self, request: Request) -> Response:
        """Begin a period: nothing of the service's quota is used yet."""
        await self._change(self._store.begin_period, request.path_params["name"])
        return Response(status_code=204)

    async def deny(self, request: Request) -> Response:
        """Deny a device, or all that match a pattern like ``192.0.2.*`` (PUT); accept them again (DELETE).

        Edges notice at their next check of the device.
        """
        name, device = request.path_params["name"], request.path_params["device"]
        await self._do(self._store.deny, name, device, request.method == "PUT")
        return Response(status_code=204)
