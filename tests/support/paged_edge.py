"""An edge that is not there: the answers of its admin API, with data that moves and is the same in every run."""

import json
import math
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote

import trio

from trioedge.admin.http.responses import Response
from trioedge.admin.page.answers import INDEX, page_files
from trioedge.endpoints.asgi.own_server import serve_application
from trioedge.telemetry.log import EdgeLog

HOSTILE = '<img src=x onerror="document.title=1">'
"""A name of a service that would run a script if the page read it as HTML."""

REASONS = {"rate": 0.55, "source": 0.2, "device": 0.12, "concurrency": 0.08, "handshake": 0.05}
STAGES = (
    ("Identify", "decision", 1_204_331, 0.35, 0.28, 0.77),
    ("SourceMatch", "decision", 1_204_331, 0.61, 0.51, 1.02),
    ("SessionGate", "decision", 1_100_982, 0.92, 0.77, 2.05),
    ("DeviceLimit", "decision", 1_020_471, 1.44, 1.02, 4.1),
    ("Socks", "handshake", 1_004_113, 41.3, 32.8, 131.1),
    ("Forward", "endpoint", 998_740, 183.4, 131.1, 1_048.6),
)
NAMES = (
    "acme",
    "atlas",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "indigo",
    "juniper",
    "kestrel",
)


def steps(*passed: str, last: tuple[str, str, str]) -> list[dict[str, Any]]:
    """The steps of a session that passed some stages and then came to a last one."""
    found = [
        {"stage": stage, "verdict": "continue", "detail": "", "micros": 0.4 + 0.3 * place}
        for place, stage in enumerate(passed)
    ]
    stage, verdict, detail = last
    return [*found, {"stage": stage, "verdict": verdict, "detail": detail, "micros": 0.9}]


class FakeEdge:
    """The edge, and what tests change in it.

    Attributes:
        token: that a caller has to have; None for no token.
        odd: the name of one of its services.
        evicted: the bodies of evictions.
        asked: the paths of all requests, without their queries.
        changes: what answers have instead of what they would, by the path.
    """

    def __init__(self, *, token: str | None = None, odd: str = HOSTILE) -> None:
        self.token = token
        self.odd = odd
        self.evicted: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.changes: dict[str, dict[str, Any]] = {}
        self.streams = True
        self.deaf = False
        self._dice = random.Random(7)
        self._began = time.time()
        self._phase = [self._dice.random() * 6 for _ in range(8)]

    def live_at(self, at: float) -> int:
        wave = sum(math.sin(at / 60 / (2 + place) + phase) / (1 + place) for place, phase in enumerate(self._phase))
        return int(2_100 + 150 * wave + self._noise(at, 25))

    def history(self) -> dict[str, Any]:
        now = self._began + (time.time() - self._began) // 5 * 5
        points = []
        for place in range(180):
            at = now - 5 * (179 - place)
            burst = max(0.0, 1 - abs(place - 118) / 14) ** 0.5 * (0.8 + 0.2 * math.sin(place * 2.3))
            refused = int(18 + 9 * math.sin(at / 41) + 320 * burst + self._noise(at, 6))
            accepted = int(refused + 510 + 90 * math.sin(at / 97) + 160 * burst + self._noise(at, 50))
            points.append(
                {
                    "at": at,
                    "live": self.live_at(at),
                    "accepted": accepted,
                    "refused": refused,
                    "ended": accepted - refused,
                    "bytes_up": int(21e6 + 6e6 * math.sin(at / 130) + self._noise(at, 2e6)),
                    "bytes_down": int(118e6 + 31e6 * math.sin(at / 150 + 1) + self._noise(at, 14e6)),
                    "refused_by": {reason: int(refused * part) for reason, part in REASONS.items()},
                }
            )
        return {"seconds": 5, "points": points}

    def _noise(self, at: float, size: float) -> float:
        return random.Random(int(at)).uniform(-size, size)

    def statistics(self) -> dict[str, Any]:
        live = self.live_at(time.time())
        return {
            "edge": "shop-edge",
            "version": "0.1.0",
            "phase": "serving",
            "uptime_seconds": 273_912 + time.time() - self._began,
            "accepted": 1_204_331,
            "live": live,
            "in_handshake": 14,
            "refused": {reason: int(205_591 * part) for reason, part in REASONS.items()},
            "ended": {"finished": 981_204, "reset": 14_022, "idle": 1_411, "evicted": 3},
            "bytes_up": 81_220_431_112,
            "bytes_down": 912_331_904_221,
            "observers_lost": 0,
            "errors": {},
            "members": [],
            "workers": [
                {
                    "number": 0,
                    "pid": 4711,
                    "live": live // 2 + 21,
                    "accepted": 604_120,
                    "generation": 3,
                    "state": "ready",
                    "stall_ms": 131,
                },
                {
                    "number": 1,
                    "pid": 4712,
                    "live": live - live // 2 - 21,
                    "accepted": 600_211,
                    "generation": 3,
                    "state": "ready",
                    "stall_ms": 88,
                },
            ],
            "missing": [],
        }

    def state(self) -> dict[str, Any]:
        return {
            "version": "2026-11-30.4",
            "applied_at": self._began - 192,
            "services": 48,
            "error": "",
            "failing_since": None,
            "report_error": "",
            "unreported": 3,
            "report_lag": 1.4,
            "reported": 18_231,
            "listeners": 6,
            "listen_errors": [],
        }

    def services(self) -> list[dict[str, Any]]:
        dice, found = random.Random(3), []
        for place in range(48):
            name = self.odd if place == 5 else f"{NAMES[place % 12]}-{('eu', 'us', 'ap', 'lab')[place // 12]}"
            live = int(420 / (1 + place * 0.4)) + dice.randrange(6)
            limit = dice.choice([None, 100, 250, 500]) if place != 1 else 300
            quota = 500_000_000_000 if place % 4 == 0 else None
            found.append(
                {
                    "name": name,
                    "enabled": place != 30,
                    "live": live if limit is None else min(live, limit),
                    "opened": live * 231 + place,
                    "bytes_up": live * 31_220_113 + place,
                    "bytes_down": live * 402_117_551 // (1 + place % 3),
                    "max_sessions": limit,
                    "session_rate": dice.choice([None, 20, 50]),
                    "session_burst": 40,
                    "down_rate": dice.choice([None, 2_500_000, 12_500_000]),
                    "up_rate": dice.choice([None, 1_250_000]),
                    "quota_bytes": quota,
                    "quota_used": None if quota is None else min(quota, live * 1_950_337_664),
                    "expires_at": None,
                    "refusal": "quota: all of 500 GB is used" if place == 16 else None,
                    "sources": live // 3 + 1,
                    "listen_errors": [],
                }
            )
        return found

    def session(self, number: int, service: str, source: str) -> dict[str, Any]:
        return {
            "id": number,
            "worker": number % 2,
            "service": service,
            "source": source,
            "peer": source,
            "device": f"{service}-phone",
            "listener": "tcp://0.0.0.0:1080",
            "upstream": "tcp://203.0.113.7:443",
            "phase": "relaying",
            "age_seconds": 190.2 + number % 77,
            "idle_seconds": 0.4 + number % 5,
            "bytes_up": 212_344 * (number % 9 + 1),
            "bytes_down": 4_112_907 * (number % 7 + 1),
        }

    def sessions(self, query: dict[str, str]) -> list[dict[str, Any]]:
        cut = {body.get("session") for body in self.evicted}
        if {key: query[key] for key in ("source", "service", "device") if key in query} in self.evicted:
            return []
        source, service = query.get("source", "198.51.100.23"), query.get("service", "acme-eu")
        found = [self.session(88_100 + 7 * place, service, source) for place in range(6)]
        return [each for each in found if each["id"] not in cut]

    def recent(self, query: dict[str, str]) -> list[dict[str, Any]]:
        details = {
            "rate": ("SessionGate", "more than 50 sessions a second per service"),
            "source": ("SourceMatch", "192.0.2.9"),
            "device": ("DeviceLimit", "3 of 3 devices are online"),
            "concurrency": ("ConcurrencyLimit", "100 are live"),
            "handshake": ("Socks", "no greeting within 3 s"),
        }
        found = []
        for place in range(25):
            reason = list(REASONS)[place * 7 % 5] if place % 3 else "rate"
            kind = "ended" if place % 4 == 3 else "refused"
            stage, detail = details[reason] if kind == "refused" else ("", "")
            service = self.odd if place == 1 else f"{NAMES[place % 12]}-eu"
            source = query.get("source", f"198.51.100.{20 + place * 13 % 200}")
            order = [each[0] for each in STAGES]
            names = order[: order.index(stage) if stage in order else 5]
            found.append(
                self.session(87_000 - place, service, source)
                | {
                    "phase": "ended",
                    "kind": kind,
                    "reason": reason if kind == "refused" else "finished",
                    "detail": detail,
                    "stage": stage,
                    "ended_at": time.time() - 2 - place * 5.3,
                    "seconds": 0.002,
                    "idle_seconds": None,
                    "device": None,
                    "upstream": None,
                    **({"bytes_up": 0, "bytes_down": 0} if kind == "refused" else {}),
                    "steps": steps(*names, last=(stage, reason, detail) if stage else ("Forward", "connected", "")),
                }
            )
        return [each for each in found if all(each[key] == query[key] for key in ("kind", "reason") if key in query)]

    def upstreams(self) -> list[dict[str, Any]]:
        rows = [
            ("tcp://203.0.113.7:443", True, 0.41, 1.05, 0),
            ("tcp://203.0.113.8:443", True, 0.43, 1.22, 2),
            ("tcp://203.0.113.9:443", False, 0.52, 998.2, 211),
        ]
        return [
            {
                "address": address,
                "group": "web",
                "healthy": healthy,
                "in_flight": place,
                "connects": 331_204 - failures,
                "failures": failures,
                "connect_ms": {"p50": p50, "p99": p99, "max": p99 * 3},
                "idle": 4,
                "last_error": "" if healthy else "upstream_timeout: no answer within 3 s",
            }
            for place, (address, healthy, p50, p99, failures) in enumerate(rows)
        ]

    def machine(self) -> dict[str, Any]:
        return {
            "descriptors": {"used": 4_392, "limit": 65_536},
            "memory_bytes": 141_230_080,
            "loop_stall_ms": 2.3,
            "listen_overflows": 0,
            "tables": [
                {"name": "SessionGate keys", "used": 8_122, "capacity": 65_536},
                {"name": "devices", "used": 61_204, "capacity": 65_536},
                {"name": "recent sessions", "used": 1_000, "capacity": 1_000_000},
            ],
        }

    def top(self, query: dict[str, str]) -> list[dict[str, Any]]:
        keys = {
            "source": [f"198.51.100.{23 + place * 9}" for place in range(9)] + ["2001:db8:9::/64"],
            "service": [self.odd, *(f"{name}-eu" for name in NAMES[:9])],
            "device": [f"{name}-phone" for name in NAMES[:10]],
        }[query.get("by", "source")]
        return [
            {
                "key": key,
                "service": "acme-eu" if query.get("by") == "device" else None,
                "live": 211 // (place + 1),
                "bytes_up": 91_231_220 // (place + 1),
                "bytes_down": 2_140_233_199 // (place + 1),
            }
            for place, key in enumerate(keys)
        ]

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Answer one request."""
        parts = unquote(path).strip("/").split("/")
        match method, parts:
            case "GET", ["v1", "statistics" | "state" | "history" | "machine" as what]:
                answer = {**getattr(self, what)(), **self.changes.get(path, {})}
            case "GET", ["v1", "stage-times"]:
                whole = sum(calls * mean for _, _, calls, mean, _, _ in STAGES)
                answer = {
                    "next": None,
                    "items": [
                        {
                            "stage": stage,
                            "kind": kind,
                            "calls": calls,
                            "total_micros": calls * mean,
                            "mean_micros": mean,
                            "p50_micros": p50,
                            "p99_micros": p99,
                            "share": calls * mean / whole,
                        }
                        for stage, kind, calls, mean, p50, p99 in STAGES
                    ],
                }
            case "GET", ["v1", "services"]:
                answer = self._services(query)
            case "GET", ["v1", "services", service, "devices"]:
                states = (("fresh", None), ("unknown", 12.0), ("denied", 41.0))
                answer = {
                    "next": None,
                    "items": [
                        {
                            "device": f"{service}-{name}",
                            "state": state,
                            "sessions": 3 - place,
                            "since": 31.0,
                            "until": until,
                            "detail": "2 devices are enough" if state == "denied" else "",
                        }
                        for place, (name, (state, until)) in enumerate(
                            zip(("phone", "tv", "laptop"), states, strict=True)
                        )
                    ],
                }
            case "GET", ["v1", "sessions"]:
                answer = {"items": self.sessions(query), "next": None}
            case "GET", ["v1", "sessions", number] if int(number) > 80_000:
                passed = [stage for stage, *_ in STAGES[:-1]]
                answer = {
                    "session": self.session(int(number), "acme-eu", "198.51.100.23"),
                    "outcome": "",
                    "says": "",
                    "steps": steps(*passed, last=("Forward", "connected", "")),
                }
            case "GET", ["v1", "sessions", number]:
                return 404, {"error": f"there is no session {number}"}
            case "GET", ["v1", "recent" | "top" as what]:
                answer = {"items": getattr(self, what)(query)[: int(query["limit"])], "next": None}
            case "GET", ["v1", "upstreams"]:
                answer = {"items": self.upstreams(), "next": None}
            case "GET", ["v1", "drain"]:
                answer = {"phase": "serving", "live": self.live_at(time.time()), "deadline_seconds": None}
            case "POST", ["v1", "evict"]:
                of = json.loads(body)
                cut = 1 if "session" in of else len(self.sessions(of))
                self.evicted.append(of)
                answer = {"evicted": cut}
            case "POST", ["v1", "plan"]:
                if b"fault" in body:
                    return 422, {"faults": ["services.shop.session_rate: 'x' must be a number"]}
                answer = {"says": "1 added, 2 changed, 0 removed; 14 sessions retuned, 0 evicted"}
            case _:
                return 404, {"error": f"there is no {method} {path}"}
        return 200, answer

    def _services(self, query: dict[str, str]) -> dict[str, Any]:
        found, limit = self.services(), int(query["limit"])
        keys: dict[str, Callable[[dict[str, Any]], Any]] = {
            "name": lambda each: each["name"],
            "live": lambda each: -each["live"],
            "bytes": lambda each: -each["bytes_down"],
        }
        found.sort(key=keys[query["order"]])
        found = [
            each
            for each in found
            if each["name"].startswith(query.get("prefix", ""))
            and each["name"] > query.get("after", "") * (query["order"] == "name")
        ]
        more = len(found) > limit and query["order"] == "name"
        return {"items": found[:limit], "next": found[limit - 1]["name"] if more else None}

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """Answer one request, as an ASGI application."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        method, path, headers = scope["method"], scope["path"], dict(scope["headers"])
        self.asked.append(path)
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        if self.deaf:
            await trio.sleep_forever()
        if file := page_files().get(INDEX if path == "/" else path.removeprefix("/page/")):
            return await file.send(send)
        if self.token is not None and headers.get(b"authorization") != f"Bearer {self.token}".encode():
            return await Response(b'{"error": "the token is missing or wrong"}', status=401).send(send)
        if path == "/v1/events" and self.streams:
            return await self._stream(send)
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        status, answer = self.answer(method, path, query, body)
        return await Response(json.dumps(answer).encode(), status=status).send(send)

    async def _stream(self, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while self.streams and not self.deaf:
            said = {**self.statistics(), **self.changes.get("/v1/statistics", {})}
            event = f"event: statistics\ndata: {json.dumps(said)}\n\n"
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
            await trio.sleep(1)


@asynccontextmanager
async def serving(edge: FakeEdge, port: int = 0) -> AsyncIterator[str]:
    """Give the address of an edge that answers for the length of the block."""
    with socket.create_server(("127.0.0.1", port)) as sock:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_application, edge, sock, EdgeLog())
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            nursery.cancel_scope.cancel()
