"""The proxies under comparison: how each is configured, started and named.

Every peer relays 127.0.0.1:PORT to 127.0.0.1:UPSTREAM with the buffers it ships with, on one thread, and no tuning
on either side.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from tests.bench.balancers import HAPROXY_LIMITS, HAPROXY_REFUSE, haproxy, nginx, no_nginx
from tests.bench.processes import free_port, pinned, python, wait_for_port
from tests.bench.programs import Command, Peer, Running, no_module, no_program, program
from tests.bench.protocol_peers import PROTOCOL_PEERS


def _floor(folder: Path, port: int, upstream: int) -> list[str]:
    """The bare relay, which `measures.build` left beside the folders of the peers."""
    return [str(folder.parent / "relay"), str(port), str(upstream)]


def _asyncio(*arguments: str) -> Command:
    return lambda _, port, upstream: python("tests.bench.asyncio_relay", str(port), str(upstream), *arguments)


def _trio(_: Path, port: int, upstream: int) -> list[str]:
    return python("tests.bench.trio_relay", str(port), str(upstream))


def _edge(kind: str) -> Command:
    return lambda _, port, upstream: python(
        "tests.bench.edges", kind, f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{upstream}"
    )


PEERS = {
    peer.name: peer
    for peer in (
        Peer("direct", "no proxy", None, lambda: None),
        Peer("floor", "bare relay in C", _floor, lambda: None),
        Peer("haproxy", "HAProxy", haproxy(""), no_program("haproxy")),
        Peer("haproxy-limits", "HAProxy, same limits", haproxy(HAPROXY_LIMITS), no_program("haproxy")),
        Peer("haproxy-refuse", "HAProxy", haproxy(HAPROXY_REFUSE), no_program("haproxy")),
        Peer("nginx", "nginx stream", nginx(), no_nginx),
        Peer("uvloop", "uvloop streams", _asyncio("--uvloop"), no_module("uvloop")),
        Peer("asyncio", "asyncio streams", _asyncio(), lambda: None),
        Peer("trio", "Trio streams", _trio, no_module("trio")),
        Peer("trioedge", "trioedge", _edge("forward"), no_module("trioedge")),
        Peer("trioedge-preconnect", "trioedge, preconnected", _edge("preconnect"), no_module("trioedge")),
        Peer("trioedge-middleware", "trioedge, a middleware", _edge("middleware"), no_module("trioedge")),
        Peer("trioedge-observed", "trioedge, an observer that sleeps", _edge("observed"), no_module("trioedge")),
        Peer("trioedge-toml", "trioedge, from an edge.toml", _edge("from-toml"), no_module("trioedge")),
        Peer("trioedge-wrapped", "trioedge, a wrapped stream", _edge("wrapped"), no_module("trioedge")),
        Peer("trioedge-refuse", "trioedge", _edge("refuse"), no_module("trioedge")),
        *PROTOCOL_PEERS,
    )
}


@contextmanager
def started(peer: Peer, echo: Path, core: int, folder: Path) -> Iterator[Running]:
    """Run a peer in front of an upstream of its own; no other peer shares its ports in TIME_WAIT."""
    own = Path(mkdtemp(prefix=f"{peer.name}-", dir=folder))
    with pinned([str(echo)], core, talks=True) as server:
        assert server.stdout is not None
        upstream = int(server.stdout.readline())
        if peer.command is None:
            yield Running(upstream, server.pid)
            return
        port, log = free_port(), own / "log"
        with pinned(peer.command(own, port, upstream), core, log=log) as child:
            wait_for_port(port, child, log)
            yield Running(port, child.pid, peer.talk(port, upstream))


def versions() -> Mapping[str, str]:
    """The version that was measured; empty for a peer that is not here."""
    found = {}
    for name, option in (
        ("haproxy", "-v"),
        ("nginx", "-v"),
        ("danted", "-v"),
        ("tinyproxy", "-v"),
        ("openssl", "version"),
    ):
        if program(name):
            answer = subprocess.run([program(name), option], capture_output=True, text=True, check=True)
            number = re.search(r"\d+\.\d+\.\S+", answer.stdout + answer.stderr)
            found[name] = number[0] if number else "unknown"
    for name in ("uvloop", "trio", "hypercorn", "pproxy", "trioedge"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            if find_spec(name):
                found[name] = "not packaged"
    return found
