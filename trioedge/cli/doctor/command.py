"""``trioedge doctor``: examine this machine for running an edge; with ``--fix``, put the queue `fq` in place."""

import platform
import resource
import select
import socket
import sys
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from ...process import logs
from ...process.cores import cores
from ...process.run import ExitCode
from ...serving.affordable import memory_bytes
from ...stages.pacing import fq
from ..words import count
from .capabilities import STATUS, held, needed
from .capacity import MEMORY, memory, open_files, sessions_of, workers
from .finding import Finding, read
from .kernel import BACKLOG, HALF_OPEN, MIGRATION, backlog, half_open, migration, steering

NAMESERVERS: Final = Path("/etc/resolv.conf")


def doctor(target: str | None = None, /, *, fix: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Examine this machine: workers, pacing, the number of sessions, waiting clients, names, and addresses.

    Exit codes: 0 an edge can run here, 1 it cannot, because of the lines marked problem.

    Args:
        target: An edge.toml: the capabilities that its plugins need, and the memory that its sessions may take. This
            runs the code of the plugins.
        fix: Put the fq queue on interfaces that have the kernel's default queue; takes CAP_NET_ADMIN. Nothing else is
            changed.
    """
    logs.configure()
    findings = list(examine(fix=fix))
    if target is not None:
        findings += [*plugin_capabilities(target, held(read(STATUS))), *sessions_of(target, memory_bytes())]
    (_print_table if sys.stdout.isatty() else _print_lines)(findings)
    return ExitCode.FAULT if any(each.mark == "problem" for each in findings) else 0


def examine(*, fix: bool) -> Iterator[Finding]:
    """Examine everything; with `fix`, put `fq` on the interfaces that have the kernel's default queue."""
    yield _versions()
    yield _sockets()
    yield workers(cores())
    yield steering()
    yield from _pacing(fix)
    yield open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield memory(memory_bytes(), read(MEMORY))
    yield backlog(read(BACKLOG))
    yield half_open(read(HALF_OPEN))
    yield migration(read(MIGRATION))
    yield _ipv6()
    yield nameservers(read(NAMESERVERS))


def _versions() -> Finding:
    parts = ("trioedge", version("trioedge")), ("Python", platform.python_version()), ("trio", version("trio"))
    system = f"{platform.system()} {platform.release()}"
    return Finding("ok", "versions", ", ".join([*map(" ".join, parts), system]))


def _sockets() -> Finding:
    """Open an epoll and a listening socket, as every edge does: a sandbox may forbid it."""
    try:
        with select.epoll(), socket.socket() as sock:
            sock.listen()
    except OSError as error:
        return Finding("problem", "sockets", f"this process cannot listen: {error.strerror}")
    return Finding("ok", "sockets", "this process may listen")


def _pacing(fix: bool) -> Iterator[Finding]:
    if fq.pacing_support() == "kernel":
        yield Finding("ok", "pacing", "kernel: sockets take a rate (SO_MAX_PACING_RATE), with fq or without")
    else:
        yield Finding("note", "pacing", "timeline: sockets take no rate here, so the edge times its writes")
    for each in fq.survey(fix=fix):
        well = not each.eligible or each.state in ("ready", "installed")
        yield Finding("ok" if well else "note", f"fq on {each.name}", f"{each.state}: {each.detail}")


def _ipv6() -> Finding:
    """Look up the route to a public address; to connect a UDP socket sends nothing."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.connect(("2000::1", 9))
            source = sock.getsockname()[0]
    except OSError as error:
        return Finding("note", "IPv6", f"no way out ({error.strerror}): upstreams with IPv6 alone cannot be reached")
    return Finding("ok", "IPv6", f"a way out, from {source}")


def nameservers(text: str) -> Finding:
    """Judge the name servers, from the content of `resolv.conf`."""
    words = [line.split() for line in text.splitlines()]
    servers = [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]
    if not servers:
        return Finding("note", "names", f"{NAMESERVERS} names no server: only names of /etc/hosts have an address")
    return Finding("ok", "names", f"{count(len(servers), 'server')}: {', '.join(servers)}")


def plugin_capabilities(target: str, here: Collection[str]) -> Iterator[Finding]:
    """Judge the capabilities that the plugins of a file need, by those that are here."""
    for plugin, capability, fault in needed(target):
        if fault or capability in here:
            yield Finding("note" if fault else "ok", f"plugin {plugin.name}", fault or f"{capability} is here")
        else:
            mend = f"this process does not have it; in a unit of systemd: AmbientCapabilities={capability}"
            yield Finding("note", f"plugin {plugin.name}", f"{plugin} needs {capability}, and {mend}")


def _print_lines(findings: list[Finding]) -> None:
    for each in findings:
        print(f"{each.mark:8}{each.subject}: {each.text}")


def _print_table(findings: list[Finding]) -> None:
    from rich.console import Console  # imported here, so that other commands need not wait for rich
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "note": "yellow", "problem": "bold red"}
    table = Table.grid(padding=(0, 2))
    for each in findings:
        table.add_row(Text(each.mark, styles[each.mark]), Text(each.subject, "bold"), Text(each.text))
    Console().print(table)
