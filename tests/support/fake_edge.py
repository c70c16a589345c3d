"""An admin API with canned answers on a local socket, in a thread, so that a whole command may run against it."""

import json
import socketserver
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import attrs

from trioedge.admin.http.responses import MISSING

SESSION = {
    "id": 17, "worker": 0, "service": "shop", "source": "192.0.2.7", "peer": "192.0.2.7", "device": "phone",
    "listener": "tcp://0.0.0.0:443", "upstream": "tcp://10.0.0.5:6379", "phase": "relaying", "age_seconds": 132.4,
    "idle_seconds": 0.8, "bytes_up": 12_345, "bytes_down": 6_789_000,
}  # fmt: skip
BARE = {
    **SESSION, "id": 18, "worker": 1, "source": "2001:db8::7", "peer": "2001:db8::7", "device": None,
    "upstream": None, "phase": "connecting", "age_seconds": 0.2, "idle_seconds": None, "bytes_up": 0, "bytes_down": 0,
}  # fmt: skip
STEPS = [
    {"stage": "SessionGate", "verdict": "continue", "detail": "", "micros": 1.2},
    {"stage": "SourceMatch", "verdict": "source", "detail": "192.0.2.7 is rejected", "micros": 3.4},
]
SERVICE = {
    "name": "shop", "enabled": True, "live": 12, "opened": 340, "bytes_up": 1_200_000, "bytes_down": 98_000_000,
    "max_sessions": 100, "session_rate": 20.0, "session_burst": 40, "down_rate": 1e7, "up_rate": None,
    "quota_bytes": 50_000_000_000, "quota_used": 12_000_000_000, "expires_at": 1_800_000_000.0, "refusal": None,
    "sources": 9, "listen_errors": [],
}  # fmt: skip
BLOG = {
    **SERVICE, "name": "blog", "live": 0, "opened": 0, "bytes_up": 0, "bytes_down": 0, "max_sessions": None,
    "session_rate": None, "session_burst": None, "down_rate": None, "quota_bytes": None, "quota_used": None,
    "expires_at": None, "refusal": "quota: 1 GB are used up", "sources": 0,
    "listen_errors": ["tcp://0.0.0.0:80: in use"],
}  # fmt: skip
DEVICE = {"device": "phone", "state": "fresh", "sessions": 2, "since": 340.0, "until": 12.0, "detail": ""}
REFUSED = {
    **SESSION, "kind": "refused", "reason": "source", "detail": "192.0.2.7 is rejected", "stage": "SourceMatch",
    "ended_at": 1_790_000_000.25, "seconds": 0.001, "steps": STEPS, "idle_seconds": None,
}  # fmt: skip
STATISTICS = {
    "edge": "shop", "version": "0.2.0", "phase": "serving", "uptime_seconds": 11_530.0, "accepted": 20_340,
    "live": 1204, "in_handshake": 3, "refused": {"rate": 20, "source": 1_203},
    "ended": {"finished": 18_000}, "bytes_up": 10**9,
    "bytes_down": 30 * 10**9, "observers_lost": 0, "errors": {}, "members": [],
    "workers": [
        {"number": 0, "pid": 811, "live": 600, "accepted": 10_000, "generation": 1, "state": "ready", "stall_ms": 0.4},
        {"number": 1, "pid": 812, "live": 604, "accepted": 10_340, "generation": 1, "state": "ready", "stall_ms": None},
    ],
    "missing": [],
}  # fmt: skip
POINTS = [
    {
        "at": 1_790_000_000.0 + 5 * number, "live": 1000 + 10 * (number % 30), "accepted": 400, "refused": number % 7,
        "bytes_up": 10**6, "bytes_down": 10**6 * number, "refused_by": {},
    }
    for number in range(60)
]  # fmt: skip
STAGE = {
    "stage": "SessionGate", "kind": "decision", "calls": 20_340, "total_micros": 81_360.0, "mean_micros": 4.0,
    "p50_micros": 4.1, "p99_micros": 16.4, "share": 0.75,
}  # fmt: skip
UPSTREAM = {
    "address": "tcp://10.0.0.5:6379", "group": "redis", "healthy": True, "in_flight": 3, "connects": 200, "failures": 2,
    "connect_ms": {"p50": 0.5, "p99": 4.0, "max": 12.25}, "last_error": "refused", "idle": 4,
}  # fmt: skip
MACHINE = {
    "descriptors": {"used": 312, "limit": 1024}, "memory_bytes": 48_000_000, "loop_stall_ms": 0.4,
    "listen_overflows": 7, "tables": [{"name": "devices", "used": 900, "capacity": 1000}], "workers": [],
}  # fmt: skip
READY = {"ready": True, "phase": "serving", "workers": 2, "workers_ready": 2}
CONTROL = {
    "version": "v7", "applied_at": 1_790_000_000.0, "services": 17, "error": "", "failing_since": None,
    "report_error": "", "unreported": 2, "reported": 120, "listeners": 0, "listen_errors": [],
}  # fmt: skip
TOP: dict[str, list[Any]] = {
    "source": [{"key": "192.0.2.7", "service": None, "live": 9, "bytes_up": 1_000, "bytes_down": 2_000_000}],
    "service": [{"key": "shop", "service": None, "live": 12, "bytes_up": 1_000, "bytes_down": 98_000_000}],
    "device": [{"key": "phone", "service": "shop", "live": 2, "bytes_up": 10, "bytes_down": 20}],
}

Answer: TypeAlias = tuple[int, Any]
Answers: TypeAlias = "dict[tuple[str, str], Answer | Callable[[Asking], Answer]]"


@attrs.frozen
class Asking:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    token: str


def named(*items: dict[str, Any]) -> Callable[["Asking"], Answer]:
    """Answer with the items whose names have the prefix that is asked for."""

    def answer(asking: Asking) -> Answer:
        return page(*[each for each in items if each["name"].startswith(asking.query.get("prefix", ""))])

    return answer


def page(*items: Any) -> Answer:
    return 200, {"items": [*items], "next": None}


def usual() -> Answers:
    """What a healthy edge answers."""
    return {
        ("GET", "/ready"): (200, READY),
        ("GET", "/v1/state"): (200, CONTROL),
        ("GET", "/v1/machine"): (200, MACHINE),
        ("GET", "/v1/statistics"): (200, STATISTICS),
        ("GET", "/v1/history"): (200, {"seconds": 5, "points": POINTS}),
        ("GET", "/v1/stage-times"): page(STAGE),
        ("GET", "/v1/upstreams"): page(UPSTREAM),
        ("GET", "/v1/sessions"): page(SESSION, BARE),
        ("GET", "/v1/sessions/17"): (200, {"session": SESSION, "outcome": "", "steps": STEPS, "says": ""}),
        ("GET", "/v1/sessions/5"): (404, {"error": "there is no session 5"}),
        ("DELETE", "/v1/sessions/17"): (200, {"evicted": 1}),
        ("DELETE", "/v1/sessions/5"): (404, {"error": "there is no live session 5"}),
        ("GET", "/v1/services"): named(BLOG, SERVICE),
        ("GET", "/v1/services/shop"): (200, SERVICE),
        ("GET", "/v1/services/blog"): (200, BLOG),
        ("GET", "/v1/services/shop/devices"): page(DEVICE),
        ("GET", "/v1/services/blog/devices"): page(),
        ("GET", "/v1/recent"): page(REFUSED),
        ("GET", "/v1/top"): lambda asking: page(*TOP[asking.query["by"]]),
        ("POST", "/v1/evict"): (200, {"evicted": 12}),
        ("GET", "/v1/drain"): (200, {"phase": "serving", "live": 12, "deadline_seconds": None}),
        ("POST", "/v1/drain"): (200, {"phase": "draining", "live": 12, "deadline_seconds": 10.0}),
        ("GET", "/v1/log-level"): (200, {"level": "info"}),
        ("PUT", "/v1/log-level"): lambda asking: (200, asking.body),
    }


@attrs.define
class FakeEdge:
    """The API: `answers` may be changed at any time; `asked` has what came; `token` is wanted if it is not empty.

    `events` is the event stream; with `holding` it stays open until that is set. `missing` are the workers whose part
    its answers lack.
    """

    address: str
    answers: Answers = attrs.field(factory=usual)
    asked: list[Asking] = attrs.field(factory=list)
    token: str = ""
    events: bytes = b""
    holding: Event | None = None
    missing: str = ""

    def answer(self, asking: Asking) -> Answer:
        self.asked.append(asking)
        if self.token and asking.token != f"Bearer {self.token}":
            return 401, {"error": "the token is missing or wrong"}
        found = self.answers.get((asking.method, asking.path), (404, {"error": "there is no such path"}))
        return found(asking) if callable(found) else found


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    edge: FakeEdge

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has hung up: a test reads what its process writes to stderr."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def address_string(self) -> str:
        return "unix"

    def _any(self) -> None:
        url = urlsplit(self.path)
        asking = Asking(
            self.command, url.path, dict(parse_qsl(url.query)), self._body(), self.headers.get("Authorization", "")
        )
        edge = self.server.edge
        if asking.path == "/v1/events" and edge.events:
            edge.asked.append(asking)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(edge.events)
            if edge.holding is not None:
                edge.holding.wait(20)
            return
        status, answer = edge.answer(asking)
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if edge.missing:
            self.send_header(MISSING, edge.missing)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 - the base class's names

    def _body(self) -> Any:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return None
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return json.loads(body) if self.headers.get("Content-Type") == "application/json" else body.decode()


@contextmanager
def fake_edge(folder: Path) -> Iterator[FakeEdge]:
    """Answer on a socket in a folder until the block ends."""
    path = folder / "admin.sock"
    with _Server(str(path), _Handler) as server:
        server.edge = FakeEdge(f"unix://{path}")
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.edge
        finally:
            server.shutdown()
            thread.join()
            path.unlink(missing_ok=True)
