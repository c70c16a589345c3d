"""``trioedge check``: print the chain of an edge, or its fault; no socket is opened."""

import os
import sys
from contextlib import redirect_stdout
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from ..addresses.address import parse_address
from ..edge import Edge
from ..endpoints.forward import Forward
from ..errors import ConfigurationError, EdgeFileError, Faults
from ..session.kinds import HANDSHAKE, name_of
from ..upstreams.ways.via import Via
from .target import load_all

if TYPE_CHECKING:
    from ..config.edge_file import EdgeFile

_WHEN = {
    "leading decisions": "run in the accept loop, before a task exists",
    "handshake": "talks with the client in the relay loop, before a task exists",
    "decisions": "run when the handshake above has ended",
    "middleware": "wraps everything below it",
    "endpoint": "carries the session to its end",
}
_IN_A_TASK = {
    "handshake": "talks with the client in the session's task",
    "decisions": "run in the session's task",
}
"""The same, behind a middleware."""


@attrs.frozen
class Section:
    """One phase of the chain, in words.

    Attributes:
        title: the kind of phase, such as ``leading decisions``.
        when: when the phase runs.
        stages: the number of each stage in the whole chain, and its description.
    """

    title: str
    when: str
    stages: tuple[tuple[int, str], ...]


def check(target: str, /) -> int:
    """Load an edge and print its chain, phase by phase; a file of services is read, and nothing else is opened.

    Exit codes: 0 the edge is in order, 2 it has faults, which stderr names, one a line. Not checked are whether its
    addresses are free and whether its control plane answers.

    Args:
        target: module:name, or file.py[:name]. Without a name: the only Edge there, or the one called edge. Or
            file.toml[:name]: all edges of the file, or one.
    """
    with redirect_stdout(sys.stderr):  # lines of the target's own are no part of the output
        loaded = load_all(target)
    edges = {target: loaded} if isinstance(loaded, Edge) else _of_file(target, loaded)
    for edge in edges.values():
        if edge.control is not None:
            _check_services(edge)
    for name, edge in edges.items():
        (_print_tree if sys.stdout.isatty() else _print_lines)(name, edge)
    return 0


def _of_file(target: str, file: "EdgeFile") -> dict[str, Edge]:
    """Name the edges of a file as a target does; what a plugin did wrong is a fault here."""
    if file.broken:
        raise EdgeFileError(file.broken.values())
    where = str(file.path)
    return {target if target != where else f"{where}:{name}": edge for name, edge in file.edges.items()}


def _check_services(edge: Edge) -> None:
    """Read the edge's file of services, if it has one, and log the warnings that the edge will log when it serves.

    A faulty file would keep the edge from starting. An edge without one needs none of these imports, which would take
    as long as all others together.
    """
    import structlog

    from ..control.file import FileControl
    from ..process import logs
    from ..services.applying.outbounds import outbound_faults
    from ..services.examine import PolicyWarnings
    from ..services.listening.ports import Ports
    from ..services.policy import enforced_by_edge
    from ..services.snapshot import Change
    from ..upstreams.own_listeners import reached
    from ..upstreams.ways.named import facts_of_outbounds

    if not isinstance(edge.control, FileControl):
        return
    known = facts_of_outbounds(edge.outbounds)
    warnings = PolicyWarnings(
        edge.outline.enforced | enforced_by_edge(counts_bytes=edge.outline.facts[-1].relays),
        needs_destination=edge.outline.needs_destination,
        outbounds=known,
    )
    faults = Faults()
    own = [address for each in edge.listen if (address := parse_address(each, listening=True)).literal]
    ports = Ports(edge.open_ports, own, reached)
    services = edge.control.read(edge.stage_keys).services
    for name, settings in services.items():
        faults.extend(outbound_faults(settings.policy, f"services.{name}", known))
        faults.extend(ports.faults(settings.policy, f"services.{name}"))
        warnings.note(name, settings.policy)
    if not faults:
        for _ in ports.conflicts([(Change(name, None, each), None) for name, each in services.items()], faults):
            pass
    if faults:
        path = os.fspath(edge.control.given()["path"])
        raise ConfigurationError(f"{path}: {faults}")
    logs.configure()
    log = structlog.get_logger("trioedge")
    if warnings.keys:
        log.warning("policy not enforced: no stage reads it", keys=warnings.keys, services=warnings.services)
    if warnings.without_destination:
        log.warning("policy names no destination: its sessions will be refused", services=warnings.without_destination)


def sections(edge: Edge) -> list[Section]:
    """Give the phases of an edge's chain, each with its stages."""
    outline = edge.outline
    parts = iter(enumerate(zip(outline.names, outline.parts, outline.facts, strict=True), 1))
    found: list[Section] = []
    when = _WHEN
    for phase in outline.phases:
        stages = []
        for number, (name, part, facts) in islice(parts, len(phase.stages)):
            bounds = f": at most {facts.seconds:g} s and {facts.max_bytes:,} bytes" if phase.kind == HANDSHAKE else ""
            stages.append((number, _describe(name, part) + bounds))
        found.append(Section(phase.kind, when[phase.kind], tuple(stages)))
        if phase.kind == "middleware":
            when = _WHEN | _IN_A_TASK
    return found


def task_of(edge: Edge) -> str:
    """Say in words whether a session needs a task of its own, and which stage needs it."""
    chain = edge.outline
    if chain.direct and chain.facts[-1].taskless:
        return "none for plain sockets: the relay loop carries them"
    needing = next(phase for phase in chain.phases if phase.kind in ("middleware", "endpoint"))
    before = "handshakes" if chain.talks else "leading decisions"
    return f"one each, after the {before}; {needing.stages[0]} needs it"


def remarks(edge: Edge) -> list[str]:
    """Say what the edge needs from systemd, and which outbounds leave names to a proxy, so that none is judged here."""
    ways = dict(edge.outbounds)
    endpoint = edge.outline.parts[-1]
    if isinstance(endpoint, Forward) and endpoint.outbound is not None:
        ways = {"of the endpoint": endpoint.outbound, **ways}
    passed = [parse_address(each, listening=True).path for each in edge.listen if each.startswith("systemd:")]
    return [
        f"listen systemd:{name} needs a socket unit with FileDescriptorName={name}, and a process that systemd starts"
        for name in passed
    ] + [
        f"outbound {name}: the proxy resolves names, so allow= judges destinations that are written as addresses only"
        for name, way in ways.items()
        if isinstance(way, Via) and way.remote_names
    ]


def _shown(part: object) -> str:
    """Give the repr of a part, or its name where its class has no repr of its own."""
    return _describe(name_of(part), part)


def _describe(name: str, part: object) -> str:
    """Give the repr of a stage if it begins with the name of the stage, else the name alone."""
    text = repr(part)
    return text if text.startswith(name) else name


def _print_lines(target: str, edge: Edge) -> None:
    print("edge:", target)
    for address in edge.listen:
        print("listen:", address)
    if edge.open_ports is not None:
        print("listen for services:", edge.open_ports)
    for section in sections(edge):
        print(f"{section.title}: {section.when}")
        for number, text in section.stages:
            print(f"  {number}. {text}")
    for name, outbound in edge.outbounds.items():
        print(f"outbound {name}: {outbound!r}")
    if edge.control is not None:
        print("control:", _shown(edge.control))
    for observer in edge.description.observers:
        print("observer:", _shown(observer))
    print("task:", task_of(edge))
    for remark in remarks(edge):
        print("note:", remark)


def _print_tree(target: str, edge: Edge) -> None:
    from rich.console import Console  # imported here, so that other commands need not wait for rich
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(target, "bold"), guide_style="dim")
    if edge.listen:
        tree.add(Text.assemble(("listens on  ", "dim"), "  ".join(edge.listen)))
    if edge.open_ports is not None:
        tree.add(Text.assemble(("listens for services on  ", "dim"), str(edge.open_ports)))
    for section in sections(edge):
        branch = tree.add(Text.assemble((section.title, "bold cyan"), "  ", (section.when, "dim")))
        for number, text in section.stages:
            branch.add(Text.assemble((f"{number}  ", "dim"), text))
    if edge.outbounds:
        branch = tree.add(Text.assemble(("outbounds", "bold cyan"), "  ", ("policies name them", "dim")))
        for name, outbound in edge.outbounds.items():
            branch.add(Text.assemble((f"{name}  ", "dim"), repr(outbound)))
    if edge.control is not None:
        tree.add(Text.assemble(("control plane", "bold cyan"), "  ", _shown(edge.control)))
    if edge.description.observers:
        branch = tree.add(
            Text.assemble(("observers", "bold cyan"), "  ", ("are told of sessions, and delay none", "dim"))
        )
        for observer in edge.description.observers:
            branch.add(_shown(observer))
    tree.add(Text.assemble(("session's task  ", "bold cyan"), (task_of(edge), "dim")))
    for remark in remarks(edge):
        tree.add(Text.assemble(("note  ", "bold yellow"), remark))
    Console().print(tree)
