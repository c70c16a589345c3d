"""``trioedge doctor``: examine this machine for running an edge; with ``--fix``, put the queue `fq` in place."""

import platform
import resource
import select
import socket
import sys
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import attrs
from cyclopts import Parameter

from ..process import logs
from ..process.run import ExitCode
from ..serving.affordable import SPARE_DESCRIPTORS
from ..stages.pacing import fq
from .capabilities import STATUS, held, needed
from .words import count

FEW_SESSIONS: Final = 1_000
SHORT_BACKLOG: Final = 1_024

BACKLOG: Final = Path("/proc/sys/net/core/somaxconn")
NAMESERVERS: Final = Path("/etc/resolv.conf")

Mark: TypeAlias = Literal["ok", "note", "problem"]


@attrs.frozen
class Finding:
    """One result of the examination.

    Attributes:
        mark: ``ok``; ``note`` if it could be better; ``problem`` if no edge can run.
        subject: a part of the machine, such as ``open files``.
        text: the result, and how to improve it.
    """

    mark: Mark
    subject: str
    text: str


def doctor(target: str | None = None, /, *, fix: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Examine this machine: pacing, the number of sessions, names, and addresses.

    Exit codes: 0 an edge can run here, 1 it cannot, because of the lines marked problem.

    Args:
        target: An edge.toml, whose plugins say which capabilities they need. This runs their code.
        fix: Put the fq queue on interfaces that have the kernel's default queue; takes CAP_NET_ADMIN. Nothing else is
            changed.
    """
    logs.configure()
    findings = list(examine(fix=fix))
    if target is not None:
        findings += plugin_capabilities(target, held(_read(STATUS)))
    (_print_table if sys.stdout.isatty() else _print_lines)(findings)
    return ExitCode.FAULT if any(each.mark == "problem" for each in findings) else 0


def examine(*, fix: bool) -> Iterator[Finding]:
    """Examine everything; with `fix`, put `fq` on the interfaces that have the kernel's default queue."""
    yield _versions()
    yield _sockets()
    yield from _pacing(fix)
    yield open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield backlog(_read(BACKLOG))
    yield _ipv6()
    yield nameservers(_read(NAMESERVERS))


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


def open_files(soft: int, hard: int) -> Finding:
    """Judge the limit of open files; a session needs two."""
    sessions = (hard - SPARE_DESCRIPTORS) // 2
    if sessions < 1:
        return Finding("problem", "open files", f"{hard:,} at most leave none for a session; see ulimit -Hn")
    text = f"{hard:,} at most, so {sessions:,} sessions may live"
    if soft < hard:
        text += f"; {soft:,} unless raised, as trioedge run does"
    return Finding("note" if sessions < FEW_SESSIONS else "ok", "open files", text)


def backlog(text: str) -> Finding:
    """Judge the number of connections that may wait to be accepted, the content of `somaxconn`."""
    if not text.strip().isdecimal():
        return Finding("note", "backlog", f"not known: {BACKLOG} cannot be read")
    limit = int(text)
    waiting = f"{limit:,} connections may wait to be accepted"
    if limit < SHORT_BACKLOG:
        return Finding("note", "backlog", f"only {waiting}; sysctl net.core.somaxconn={4 * SHORT_BACKLOG} lets more")
    return Finding("ok", "backlog", waiting)


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


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


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
