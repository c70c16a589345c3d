"""A control plane with the policies of many services: `python -m tests.bench.snapshot_server COUNT`.

It prints its URL, and for each line that it reads changes one service and prints the version that this made.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Snapshot:
    """All services as lines, and their version."""

    def __init__(self, count: int) -> None:
        self.version = 1
        self.news = threading.Condition()
        self._count = count
        self._lines = [self._line(number) for number in range(count)]

    def _line(self, number: int, session_rate: float = 100.0) -> bytes:
        policy = {
            "session_rate": session_rate, "max_sessions": 200, "down_rate": 1e9 + number, "accept": ["127.0.0.0/8"]
        }  # fmt: skip
        return json.dumps({"name": f"service-{number}", **policy}).encode() + b"\n"

    def change(self) -> int:
        with self.news:
            self.version += 1
            self._lines[7] = self._line(7, 100.0 + self.version)
            self.news.notify_all()
            return self.version

    def body(self) -> tuple[str, bytes]:
        with self.news:
            head = json.dumps({"version": str(self.version), "full": True}).encode() + b"\n"
            end = json.dumps({"end": self._count}).encode() + b"\n"
            return str(self.version), b"".join([head, *self._lines, end])


class Handler(BaseHTTPRequestHandler):
    """Answers when there is news, and acknowledges reports."""

    protocol_version = "HTTP/1.1"
    snapshot: Snapshot

    def do_GET(self) -> None:
        known, snapshot = self.headers["If-None-Match"], self.snapshot
        with snapshot.news:
            news = snapshot.news.wait_for(lambda: str(snapshot.version) != known, timeout=25)
        version, body = snapshot.body() if news else (known, b"")
        self.send_response(200 if news else 304)
        self.send_header("ETag", version)
        if news:
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
    for _ in sys.stdin:
        print(json.dumps({"version": str(Handler.snapshot.change())}), flush=True)


if __name__ == "__main__":
    main()
