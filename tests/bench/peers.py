"""The proxies under comparison: how each is configured, started and named.

Every peer relays 127.0.0.1:PORT to 127.0.0.1:UPSTREAM with the buffers it ships with, on one thread. HAProxy
and nginx get time limits and connection limits that the measures never reach, and nothing else: no splicing,
no tuning on either side.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from tests.bench.prefixes import LOOPBACK, PREFIXES, prefixes
from tests.bench.processes import free_port, pinned, processor_seconds, proportional_kib, python, wait_for_port

HAPROXY = """\
global
    nbthread 1
    maxconn 9500
defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
frontend clients
    bind 127.0.0.1:{port}
{limits}    default_backend upstream
backend upstream
    server echo 127.0.0.1:{upstream}
"""

HAPROXY_LIMITS = """\
    stick-table type ip size 100k expire 60s store conn_rate(1s),conn_cur
    tcp-request connection reject if !{ src -f accepted.lst }
    tcp-request connection track-sc0 src
    tcp-request connection reject if { sc0_conn_rate gt 1000000 }
    tcp-request connection reject if { sc0_conn_cur gt 20000 }
"""
"""What trioedge's chain does, in HAProxy's words: the same prefixes, rate and concurrency, never reached."""

HAPROXY_REFUSE = f"    tcp-request connection reject if {{ src {LOOPBACK} }}\n"

NGINX = """\
{module}daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections {files}; }}
stream {{
    proxy_timeout 10m;
    {stream}
    server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{upstream}; {server} }}
}}
"""


Command = Callable[[Path, int, int], list[str]]
"""Writes what a program needs into a fresh folder, and gives its command line: folder, port, port of the upstream."""


@dataclass(frozen=True)
class Peer:
    """One program to measure.

    Without a `command`, the client talks to the upstream. `missing` says why it cannot run here, or nothing.
    """

    name: str
    label: str
    command: Command | None
    missing: Callable[[], str | None]


@dataclass(frozen=True)
class Running:
    """A started peer."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time of the proxy, all its processes, so far."""
        return processor_seconds(self.pid)

    def kib(self) -> int:
        """Memory of the proxy, all its processes, in KiB."""
        return proportional_kib(self.pid)


def haproxy(limits: str = "") -> Command:
    """HAProxy, with lines more in its frontend."""

    def command(folder: Path, port: int, upstream: int) -> list[str]:
        (folder / "accepted.lst").write_text("\n".join(prefixes(PREFIXES)) + "\n")
        rules = limits.replace("accepted.lst", str(folder / "accepted.lst"))
        config = folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(port=port, upstream=upstream, limits=rules))
        return [_program("haproxy"), "-db", "-f", str(config)]

    return command


def nginx(stream: str = "", server: str = "") -> Command:
    """nginx, with directives more in its `stream` and `server` blocks."""

    def command(folder: Path, port: int, upstream: int) -> list[str]:
        module = _nginx_module()
        load = f"load_module {module};\n" if module else ""
        fields = {"port": port, "upstream": upstream, "files": 19_000, "stream": stream, "server": server}
        (folder / "nginx.conf").write_text(NGINX.format(module=load, **fields))
        return [_program("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]

    return command


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


def _program(name: str) -> str:
    """Where a server is; Debian keeps them in `sbin`, which is on no user's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or ""


def _nginx_build() -> str:
    return subprocess.run([_program("nginx"), "-V"], capture_output=True, text=True, check=True).stderr


def _nginx_module() -> Path | None:
    """The stream module where it is a file of its own; None where nginx has it built in."""
    built = _nginx_build()
    folder = re.search(r"--modules-path=(\S+)", built)
    module = Path(folder[1]) / "ngx_stream_module.so" if folder else None
    return module if module and module.exists() else None


def _no_program(name: str) -> Callable[[], str | None]:
    return lambda: None if _program(name) else f"not installed; apt-get install {name}"


def _no_nginx() -> str | None:
    if not _program("nginx"):
        return "not installed; apt-get install nginx-light libnginx-mod-stream"
    if _nginx_module() or re.search(r"--with-stream( |$)", _nginx_build()):
        return None
    return "no stream module; apt-get install libnginx-mod-stream"


def _no_module(name: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        found = find_spec(name)
        return None if found and found.origin else f"not installed; pip install {name}"

    return missing


PEERS = {
    peer.name: peer
    for peer in (
        Peer("direct", "no proxy", None, lambda: None),
        Peer("floor", "bare relay in C", _floor, lambda: None),
        Peer("haproxy", "HAProxy", haproxy(""), _no_program("haproxy")),
        Peer("haproxy-limits", "HAProxy, same limits", haproxy(HAPROXY_LIMITS), _no_program("haproxy")),
        Peer("haproxy-refuse", "HAProxy", haproxy(HAPROXY_REFUSE), _no_program("haproxy")),
        Peer("nginx", "nginx stream", nginx(), _no_nginx),
        Peer("uvloop", "uvloop streams", _asyncio("--uvloop"), _no_module("uvloop")),
        Peer("asyncio", "asyncio streams", _asyncio(), lambda: None),
        Peer("trio", "Trio streams", _trio, _no_module("trio")),
        Peer("trioedge", "trioedge", _edge("forward"), _no_module("trioedge")),
        Peer("trioedge-preconnect", "trioedge, preconnected", _edge("preconnect"), _no_module("trioedge")),
        Peer("trioedge-middleware", "trioedge, a middleware", _edge("middleware"), _no_module("trioedge")),
        Peer("trioedge-wrapped", "trioedge, a wrapped stream", _edge("wrapped"), _no_module("trioedge")),
        Peer("trioedge-refuse", "trioedge", _edge("refuse"), _no_module("trioedge")),
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
            yield Running(port, child.pid)


def versions() -> Mapping[str, str]:
    """The version that was measured; empty for a peer that is not here."""
    found = {}
    for name, option in (("haproxy", "-v"), ("nginx", "-v")):
        if _program(name):
            answer = subprocess.run([_program(name), option], capture_output=True, text=True, check=True)
            number = re.search(r"\d+\.\d+\.\S+", answer.stdout + answer.stderr)
            found[name] = number[0] if number else "unknown"
    for name in ("uvloop", "trio", "trioedge"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            if find_spec(name):
                found[name] = "not packaged"
    return found
