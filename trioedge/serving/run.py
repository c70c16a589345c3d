"""One run of an edge: all that exists only while it serves.

| step | started | stopped |
| --- | --- | --- |
| 1 | reactor, resolver | last |
| 2 | live stages and endpoint are opened | closed when all tasks have ended, the last one first |
| 3 | their workers | cancelled |
| 4 | sessions | waited for until the drain's deadline, then cut |
| 5 | admin socket | cancelled |
| 6 | control plane, to its first snapshot; quotas and expiries | its last reports are sent, then cancelled |
| 7 | the edge's listeners, then those that policies name | closed first |

The access log is opened before all of them and closed after them, so that it has every session. Observers are opened
with the live stages, and get their last batch when all tasks above have ended.

A start that fails, and a cancel, stop what has been started in the same way; a cancel does not wait for sessions.
"""

import time
from collections.abc import Callable, Collection
from math import inf
from typing import Any

import trio
from trio_util import AsyncValue, wait_any

from ..control.supervisor import ControlState, ControlSupervisor
from ..loop.reactor import Reactor
from ..observers.observing import Observing, observing
from ..services.applying.effects import Recheck
from ..services.context import EdgeContext
from ..services.policy import enforced_by_edge
from ..services.stage_keys import rechecked_keys
from ..services.terms.shared_quota import SharedQuotas
from ..session.chain import Chain, open_chain
from ..session.kinds import close_parts
from ..session.meter import Total
from ..session.stage import Decision
from ..session.verdict import Reason
from ..telemetry.access_log import AccessLog, LiveAccessLog
from ..telemetry.log import EdgeLog, Statistics
from ..upstreams.outbound import open_outbound
from ..upstreams.resolver import Resolver
from .affordable import affordable_sessions
from .background import BackgroundAnswers
from .description import Description
from .handshaking.stream_handshakes import StreamHandshakes
from .handshaking.talking import WaitingClients
from .listening.listening import AnyListeners, Listening
from .part import HAND_OVER_SECONDS, Part
from .sessions import Sessions, sessions_part
from .stage_calls import StageCalls
from .workers import Background, guarded, start_worker


class Run:
    """One run of an edge.

    Attributes:
        sessions: admits and ends sessions; None until the chain is open.
        chain: the live stages; None until it is open.
        calls: what stages may call; None until the reactor runs.
        listening: the listeners.
        log: its log and its counts.
        drain_seconds, drain_at: how long sessions may go on after a drain, and, once it drains, until when.
    """

    def __init__(
        self, description: Description, phase: AsyncValue[str], snapshots: AsyncValue[int],
        listeners: AnyListeners, drain_seconds: float, access_log: AccessLog | None,
        wall_clock: Callable[[], float] = time.time, part: Part | None = None,
    ) -> None:  # fmt: skip
        """Start nothing; :meth:`serve` does.

        Args:
            description: the edge.
            phase: set to ``starting``, ``serving``, ``draining`` and ``stopped``.
            snapshots: counts the snapshots that are applied.
            listeners: not accepting yet; the caller closes them too.
            drain_seconds: how long sessions may go on after :meth:`drain`.
            access_log: logs every session that ends; None for no such log.
            wall_clock: gives the seconds since 1970, by which services expire.
            part: this process as one of several workers; None for a process alone.
        """
        self._edge = description
        self._part = part
        self._phase = phase
        self.log = self._log = EdgeLog()
        self._totals = (Total(), Total())
        self._drain, self.drain_seconds = trio.Event(), drain_seconds
        self.drain_at: float | None = None
        self._log.stages = description.outline.names
        self._access_log = access_log
        self._access: LiveAccessLog | None = None  # while it serves
        share = self._share = None if part is None else part.share(description.outline.provided)
        self._control = description.control if part is None or part.control is None else part.control
        seconds = description.report_seconds
        self.supervisor = ControlSupervisor(
            self._control, self._log, self._totals, name=description.known_name, snapshots=snapshots,
            stage_keys=description.stage_keys, outbounds=description.outbound_facts, wall_clock=wall_clock,
            enforced=description.outline.enforced | enforced_by_edge(counts_bytes=description.outline.facts[-1].relays),
            report_seconds=seconds if part is None else min(seconds, HAND_OVER_SECONDS),
            quotas=None if share is None else SharedQuotas(share.limits.quotas, corrects=False),
            governed=description.control is not None,
        )  # fmt: skip
        if any("max_sessions" in each.enforces and not each.needs_control for each in description.outline.facts):
            self.supervisor.services.default_max_sessions = inf  # a stage has a number of its own
        self.supervisor.live.source_prefix = description.source_keys
        if share is not None:
            self.supervisor.services.count_everywhere(share.limits)
        self.listening = Listening(
            listeners, self.supervisor.services, description.open_ports, self._log, self.supervisor.report_soon
        )
        self.sessions: Sessions | None = None
        self.calls: StageCalls | None = None
        self.chain: Chain | None = None

    def drain(self, seconds: float | None = None) -> None:
        """Stop accepting; see :meth:`Edge.drain`. If `seconds` is given, sessions may go on for so long."""
        if seconds is not None and not self._drain.is_set():
            self.drain_seconds = seconds
        self._drain.set()

    def reload(self) -> None:
        """See :meth:`Edge.reload`."""
        self._log.say("reloading")
        self.supervisor.reload()
        if self._access is not None:
            self._access.reopen()

    def relevel(self) -> None:
        """See :meth:`Edge.relevel`."""
        self._log.relevel()

    def statistics(self) -> Statistics:
        """Give the counts as they are now."""
        return self._log.statistics(len(self.supervisor.live), self._totals[0].bytes, self._totals[1].bytes)

    async def serve(self, outbound: Any, workers: Collection[Background], started: Callable[[], object]) -> int:
        """Serve until a drain or a cancel; call it once.

        Args:
            outbound: the way out of an endpoint that names none, and of ``context.relay``.
            workers: run beside those of the stages, such as the admin socket.
            started: called once the edge accepts, or once a drain came before.

        Returns:
            How many sessions were cut.

        Raises:
            ConfigurationError: a recipe could not be opened.
        """
        self._phase.value = "starting"
        cut = 0
        served = False
        try:
            if self._access_log is not None:
                self._access = self._access_log.open(self._log)
            async with observing(self._edge.observers, self._log) as observers, trio.open_nursery() as nursery:
                sessions = await self._start(nursery, outbound, workers, observers)
                served = True
                try:
                    if self._part is not None and self._part.sockets is not None:
                        await wait_any(self._part.sockets.listening, self._drain.wait)
                    if not self._drain.is_set():
                        await self.listening.begin(self._reactor, sessions.admit, self._shed, self._max_listeners)
                        self._phase.value = "serving"
                    started()
                    await self._drain.wait()
                    self.drain_at = trio.current_time() + self.drain_seconds
                    self._phase.value = "draining"
                    await self.listening.end()
                    self._log.say("draining", live=len(sessions.live), seconds=self.drain_seconds)
                    with trio.move_on_after(self.drain_seconds):
                        if sessions.handing_over is not None:
                            await sessions.handing_over.drain()
                        await sessions.wait_empty()
                finally:
                    cut = sessions.cut(Reason.DRAINED)
                await sessions.wait_empty()
                await self.supervisor.finish()
                nursery.cancel_scope.cancel()
        finally:
            if self.chain is not None:
                close_parts(self.chain.parts, self._log)  # last in, first out
            if self._access is not None:
                await self._access.close()
                self._access = None
            self._phase.value = "stopped"
            if served:
                self._log.say("stopped", cut=cut)
        return cut

    async def _start(
        self, nursery: trio.Nursery, outbound: Any, workers: Collection[Background], observers: Observing
    ) -> Sessions:
        """Start all but the listeners, in order."""
        self._reactor = reactor = Reactor(self._log)
        await nursery.start(reactor.run)
        self._resolver = Resolver(reactor, log=self._log)
        await nursery.start(self._resolver.run)
        if self._access is not None:
            await nursery.start(self._access.run)
        outline, supervisor = self._edge.outline, self.supervisor
        self.calls = calls = StageCalls(
            self._log, reactor, self._resolver, supervisor.services, self.listening.addresses, self._drain,
            self._edge.source_keys,
        )  # fmt: skip
        context = EdgeContext(
            log=self._log,
            control=self._control,
            outbound=outbound,
            outbounds=self._edge.outbounds,
            relays=outline.facts[-1].relays,
            reactor=reactor,
            resolver=self._resolver,
            services=supervisor.services,
            sessions=supervisor.live,
            edge=calls,
            source_prefix=self._edge.source_keys,
            share=self._share,
        )
        calls.way_out = open_outbound(outbound, context)
        observers.open(context)
        opens_ports = self._edge.open_ports is not None
        affordable = affordable_sessions(outline, self._edge.max_handshakes, opens_ports=opens_ports, share=self._share)
        self._max_listeners = affordable.listeners
        answers, waiting = BackgroundAnswers(reactor.refresh), WaitingClients(affordable.handshakes)
        in_tasks = StreamHandshakes(answers, waiting, lambda: sessions.crowded(), self._log)
        self.chain = chain = open_chain(outline, context, clock=time.perf_counter_ns, drive=in_tasks.drive)
        supervisor.applier.rechecks = _rechecks(chain)
        supervisor.applier.needs_destination = outline.needs_destination
        supervisor.applier.own_listener = self.listening.own
        self.sessions = sessions = Sessions(
            chain,
            reactor,
            self._log,
            supervisor.live,
            supervisor.services,
            answers,
            waiting,
            max_sessions=affordable.max_sessions(self._edge.max_sessions, self._log),
            graceful_refuse=self._edge.refuse == "close",
            source_prefix=self._edge.source_keys,
            part=sessions_part(self._part, self._share, self._edge.max_sessions),
        )
        for worker in chain.workers:
            await start_worker(nursery, worker, self._log)
        await nursery.start(sessions.run)
        if opens_ports:
            await nursery.start(self.listening.run)
        for background in workers:
            await nursery.start(guarded, background, self._log)
        if self._edge.control is not None:
            await nursery.start(supervisor.keeper.run)
        await supervisor.start(nursery, self._drain)
        if sessions.handing_over is not None:
            await nursery.start(sessions.handing_over.run)
        return sessions

    def _shed(self) -> None:
        self._log.accepted += 1
        self._log.refused[Reason.OVERLOAD] += 1
        self._log.notice("shedding: out of file descriptors", live=len(self.supervisor.live))

    def addresses(self) -> tuple[str, ...]:
        """See :attr:`Edge.addresses`."""
        return tuple(self.listening.addresses)

    def control_state(self) -> ControlState:
        """See :meth:`Edge.control_state`."""
        return self.supervisor.state(self.listening.open, self.listening.errors)


def _rechecks(chain: Chain) -> tuple[Recheck, ...]:
    """Give the decisions to ask again when a policy changes, with the fields that they read."""
    found = []
    for stage, (facts, part) in enumerate(zip(chain.outline.facts, chain.parts, strict=True)):
        keys = frozenset() if facts.policy is None else rechecked_keys(facts.policy)
        if isinstance(part, Decision) and (fields := keys.union(facts.rechecks)):
            found.append(Recheck(fields, part.decide, stage))
    return tuple(found)
