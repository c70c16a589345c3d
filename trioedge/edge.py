"""The edge: its description, and its face while it serves."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import trio

from .addresses.address import normalise_source, parse_address
from .addresses.open_ports import listener_address
from .admin.local import Local
from .edge_face import EdgeFace
from .errors import ConfigurationError
from .loop.stall import LoopStall
from .observers.observer import Observer
from .services.context import Outbound
from .services.control_plane import ControlPlane
from .services.stage_keys import StageKeys
from .serving.admin_listener import Admin
from .serving.description import Description, check_control, read_listen
from .serving.listening.bind import Bound, bind
from .serving.listening.listening import AnyListeners
from .serving.listening.process_listeners import ProcessListeners
from .serving.listening.rehearsed_listeners import RehearsedListeners
from .serving.loading import refuse_while_loading
from .serving.part import Part
from .serving.run import Run
from .session.outline import Outline, check_parts, outline
from .session.session import Session
from .session.stage import Recipe
from .stages.identify import Identify
from .telemetry.access_log import AccessLog
from .upstreams.balancing.balanced import Balanced
from .upstreams.direct import Direct


class Edge(EdgeFace):
    """Listeners, stages and an endpoint.

    Making one opens and starts nothing. It may serve again after it has stopped, and its stages, endpoint and control
    plane may be another edge's as well.

    Attributes:
        description: the arguments, checked.
        outline: the checked chain; `trioedge check` prints it.
        listen: the addresses, as they were given.
        open_ports: the listeners that policies may name; None for none.
        stage_keys: the keys that its stages read in every policy beside those of trioedge.
        control: the control plane, if any.
        drain_seconds: how long sessions may go on after :meth:`drain`.
        access_log: writes a line for each session that ends, if any.
        outbounds: the ways out that policies may name, by name.
        phase: its state, as an `AsyncValue` of trio-util: ``idle``, ``starting``, ``serving``, ``draining``,
            ``stopped``. Programs and tests wait with ``await edge.phase.wait_value("serving")``.
        snapshots: how many snapshots it has applied since it was made, as an `AsyncValue`.
    """

    def __init__(
        self,
        listen: str | Sequence[str],
        stages: Sequence[object],
        endpoint: object,
        *,
        control: ControlPlane | None = None,
        name: str | None = None,
        report_seconds: float = 10.0,
        admin: str | Admin | None = None,
        drain_seconds: float = 10.0,
        max_sessions: int | None = None,
        max_handshakes: int | None = None,
        refuse: Literal["reset", "close"] = "reset",
        keepalive_seconds: float = 60.0,
        source_prefix: tuple[int, int] = (32, 64),
        access_log: AccessLog | None = None,
        outbounds: Mapping[str, Outbound | Recipe | Balanced] | None = None,
        observers: Sequence[Observer | Recipe] = (),
        open_ports: str | Sequence[str] | None = None,
    ) -> None:
        """Compile an edge; nothing is opened before it serves.

        Args:
            listen: ``tcp://127.0.0.1:6380``, ``tcp://[::1]:9000``, ``unix:///run/edge.sock``, ``systemd:NAME`` for the
                sockets that systemd passes by that name, or several. Port 0 lets the system choose; see
                :attr:`addresses`. ``tcp://[::]:80`` takes IPv4 as well. It may be empty with `open_ports`.
            stages: decisions, handshakes and middlewares in order of execution.
            endpoint: where sessions go.
            control: names the services and their policies, from the start and whenever they change. The edge accepts
                no session before the first snapshot; after that, a silent control plane costs nothing. Unless a stage
                names the service, ``Identify()`` is put first, and the only service is ``default``.
            name: what reports call this edge, the same after a restart; the machine's name if None.
            report_seconds: between two reports of a busy service, above 0.
            admin: a local socket, ``unix:///run/edge.sock``, on which the edge's own user asks and changes what the
                edge does; or an :class:`Admin`, for a network and a token. None for no admin API.
            drain_seconds: how long sessions may go on after :meth:`drain`, at least 0.
            max_sessions: live at once, in all workers; the next is refused with reason ``overload``. When None, as many
                as file descriptors and half of the memory of each allow: see docs/reference/limits.md.
            max_handshakes: live sessions whose clients are in their handshakes and have to say more; they do not count
                for `max_sessions`. Beyond it the one that has waited longest is refused with reason ``handshake``.
                Workers divide it. When None, 1,024 each, or an eighth of the file descriptors if that is less.
            refuse: ``reset`` closes refused connections with a reset, which costs client and kernel least;
                ``close`` closes them in order.
            keepalive_seconds: silence after which the kernel probes a TCP client, up to 32,767; one that does not
                answer four probes, within as long again, is gone. 0 for no probes.
            source_prefix: leading bits of an IPv4 (1 to 32) and of an IPv6 address (1 to 128) that are one source to
                every limit; see docs/reference/limits.md.
            access_log: writes a line for each session that ends; None for no such log.
            outbounds: ways out, and balanced destinations, by the names that policies give in `outbound`.
            observers: are told of sessions and of services, in batches; they delay no session.
            open_ports: the listeners that policies may name, which open and close as services come and go, such as
                ``tcp://0.0.0.0:20000-29999``, or several. ``0.0.0.0`` allows every IPv4 address, ``[::]`` every one.

        Raises:
            ConfigurationError: names the fault, its place, and the cure.
        """
        super().__init__()
        self.listen = read_listen(listen, may_be_empty=open_ports is not None)
        check_control(control)
        self.outline: Outline = outline(stages, endpoint)
        if control is not None and "service" not in self.outline.provided:
            self.outline = outline([Identify(), *stages], endpoint)
        self.stage_keys = StageKeys(self.outline.policies)
        check_parts(self.outline, self.listen, governed=control is not None)
        self.control, self.drain_seconds, self.access_log = control, drain_seconds, access_log
        made = self.description = Description(
            outline=self.outline, stage_keys=self.stage_keys, control=control, name=name,
            report_seconds=report_seconds, admin=admin, drain_seconds=drain_seconds, max_sessions=max_sessions,
            max_handshakes=max_handshakes, refuse=refuse, keepalive_seconds=keepalive_seconds,
            source_prefix=source_prefix, access_log=access_log, outbounds=outbounds or {}, observers=observers,
            open_ports=open_ports,
        )  # fmt: skip
        self.name, self.outbounds, self.open_ports = made.known_name, made.outbounds, made.open_ports

    async def serve(self, *, task_status: trio.TaskStatus["Edge"] = trio.TASK_STATUS_IGNORED) -> int:
        """Serve until :meth:`drain` or a cancel; either way nothing of the edge is left when this returns.

        `task_status.started(edge)` is called once every address is listened on and every worker is ready, or a drain
        came before.

        Returns:
            How many sessions were cut because they had not finished at the drain deadline.

        Raises:
            ListenError: an address cannot be listened on. Nothing was started, unless another process took the
                address while this edge waited for its first snapshot.
            RuntimeError: it is serving already.
        """
        refuse_while_loading("edge.serve()")
        self.listen = read_listen(self.listen, may_be_empty=self.open_ports is not None)  # others of the command line
        check_parts(self.outline, self.listen, governed=self.control is not None)
        return await _serve(self, Direct(), task_status)


async def _serve(
    edge: Edge, outbound: object, task_status: trio.TaskStatus[Edge], *, listens: bool = True,
    wall_clock: Callable[[], float] = time.time, part: Part | None = None,
) -> int:  # fmt: skip
    """Bind the addresses and make a run of the edge; whatever happens, all its listeners are closed afterwards."""
    if edge._serving:
        raise RuntimeError("this edge is serving already")
    edge._serving = True
    bound: list[Bound] = []
    listeners: AnyListeners = RehearsedListeners()
    try:
        if listens:
            seconds = edge.description.keepalive_seconds
            sockets = None if part is None else part.sockets
            if sockets is None:
                bound = bind([parse_address(each, listening=True) for each in edge.listen], keepalive_seconds=seconds)
            else:
                bound = [*sockets.own]
            listeners = ProcessListeners(bound, keepalive_seconds=seconds, sockets=sockets)
        run = edge._run = Run(
            edge.description, edge.phase, edge.snapshots, listeners, edge.drain_seconds, edge.access_log, wall_clock,
            part,
        )  # fmt: skip
        workers = []
        if part is None and (admin := edge.description.admin_listener) is not None:
            from .admin.server import serve_local  # few edges have an admin API

            workers = [partial(serve_local, admin, local_of(edge), edge.stage_keys, run.drain)]
        return await run.serve(outbound, workers, lambda: task_status.started(edge))
    finally:
        listeners.close_all()
        for each in bound:
            each.close()
        edge._serving = False


def local_of(edge: Edge, number: int = 0, stall: LoopStall | None = None) -> Local:
    """Give the present run of an edge, as the admin API sees it in this process.

    Args:
        edge: one that serves, or is about to.
        number: of the worker that this process is; 0 where it serves the edge alone.
        stall: how late the loop of this process is; None for one that the caller runs with the API.
    """
    run, stall = edge._present(), LoopStall() if stall is None else stall
    return Local(run, edge.description, edge.phase, edge.snapshots, number, stall=stall)


async def serve_part(
    edge: Edge, part: Part, *, task_status: trio.TaskStatus[Edge] = trio.TASK_STATUS_IGNORED
) -> int:  # fmt: skip
    """Serve as :meth:`Edge.serve` does, as one of several workers that serve the edge together."""
    return await _serve(edge, Direct(), task_status, part=part)


async def rehearse(
    edge: Edge, outbound: object, *, part: Part | None = None,
    task_status: trio.TaskStatus[Edge] = trio.TASK_STATUS_IGNORED,
) -> int:  # fmt: skip
    """Serve as :meth:`Edge.serve` does, but listen nowhere and connect through `outbound`.

    For `trioedge.testing`, which brings the clients: :func:`admit`. Services expire by Trio's clock.
    """
    since = time.time() - trio.current_time()
    return await _serve(
        edge, outbound, task_status, listens=False, part=part, wall_clock=lambda: since + trio.current_time()
    )


def admit(
    edge: Edge, stream: trio.abc.HalfCloseableStream, source: str, *, port: int = 0, listener: str | None = None
) -> Session:
    """Take a connected stream as if it had been accepted from `source`; only while serving.

    Args:
        edge: one that serves.
        stream: the client.
        source: the client's address.
        port: the client's port.
        listener: an address that a policy names and that is open in this rehearsal; None for the edge's own first one.

    Raises:
        ConfigurationError: `source` is not an address; or `listener` is not open, and would refuse the client.
    """
    run = edge._present() if edge._serving else None
    if run is None or run.sessions is None:
        raise RuntimeError("this edge is not serving")
    text, packed = normalise_source(source)
    if listener is None:
        if not edge.listen:
            raise ConfigurationError("the edge has no listener of its own: name one of a service's, listener='tcp://…'")
        return run.sessions.admit_stream(stream, edge.listen[0], text, packed, port)
    address = listener_address(listener)
    return run.sessions.admit_stream(stream, str(address), text, packed, port, run.listening.service_at(address))
