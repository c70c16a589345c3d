"""A control plane with the policies of many services: `python -m tests.bench.snapshot_server COUNT`.

It prints its URL, and then does what each line that it reads says, and prints the version that this made:

| line | the change | answered |
| --- | --- | --- |
| change | one of the services | in full |
| all | every one of them | as changes |
| rules N | a service `a` with N rules | as changes |
| enable, disable | a service `b` | as changes |
| asked | none; waits until the edge asks for what comes after the last version | - |
"""

from __future__ import annotations

import json
import sys
import threading
from collections import ChainMap
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.bench.prefixes import prefixes


class Snapshot:
    """All services as lines, and their version."""

    def __init__(self, count: int) -> None:
        self.version = 1
        self.news = threading.Condition()
        self._count = count
        self._lines = {f"service-{number}": self._line(number) for number in range(count)}
        self._lines |= {name: self._named(name) for name in "ab"}
        self._changes: list[dict[str, bytes]] = []
        """The changed lines of each of the last versions; answers from before these are in full."""
        self._asked = ""

    def _line(self, number: int, session_rate: float = 100.0) -> bytes:
        policy = {
            "session_rate": session_rate, "max_sessions": 200, "down_rate": 1e9 + number, "accept": ["127.0.0.0/8"]
        }  # fmt: skip
        return json.dumps({"name": f"service-{number}", **policy}).encode() + b"\n"

    def _named(self, name: str, enabled: bool = True, accept: Sequence[str] = ("127.0.0.0/8",)) -> bytes:
        policy = {"enabled": enabled, "accept": accept}
        return json.dumps({"name": name, **policy}).encode() + b"\n"

    def do(self, command: str, *arguments: str) -> int:
        """Do what a line says, and give the version afterwards."""
        with self.news:
            if command == "asked":
                self.news.wait_for(lambda: self._asked == str(self.version), timeout=60)
                return self.version
            self.version += 1
            rate = 100.0 + self.version
            if command == "change":
                changed = {"service-7": self._line(7, rate)}
            elif command == "all":
                changed = {f"service-{number}": self._line(number, rate) for number in range(self._count)}
            elif command == "rules":
                changed = {"a": self._named("a", accept=prefixes(int(arguments[0]) + self.version))}
            else:
                changed = {"b": self._named("b", command == "enable")}
            self._lines |= changed
            self._changes = [] if command == "change" else [*self._changes, changed]
            self.news.notify_all()
            return self.version

    def answer(self, known: str, timeout: float) -> tuple[str, bytes]:
        """Wait for a version other than the known one, and give it; with no bytes if there is none in time."""
        with self.news:
            self._asked = known
            self.news.notify_all()
            if not self.news.wait_for(lambda: str(self.version) != known, timeout):
                return known, b""
            behind = self.version - int(known or 0)
            full = not known or behind > len(self._changes)
            lines = self._lines if full else dict(ChainMap(*reversed(self._changes[-behind:])))
            head = json.dumps({"version": str(self.version), "full": full}).encode() + b"\n"
            end = json.dumps({"end": len(lines)}).encode() + b"\n"
            return str(self.version), b"".join([head, *lines.values(), end])


class Handler(BaseHTTPRequestHandler):
    """Answers when there is news, and acknowledges reports."""

    protocol_version = "HTTP/1.1"
    snapshot: Snapshot

    def do_GET(self) -> None:
        version, body = self.snapshot.answer(self.headers["If-None-Match"] or "", timeout=25)
        self.send_response(200 if body else 304)
        self.send_header("ETag", version)
        if body:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"acknowledged": report["sequence"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """The edge has gone."""


def main() -> None:
    Handler.snapshot = Snapshot(int(sys.argv[1]))
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"version": str(Handler.snapshot.do(*line.split()))}), flush=True)


if __name__ == "__main__":
    main()
