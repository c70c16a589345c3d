"""The face of an edge while it serves: its state, and the methods that change it."""

from collections.abc import Sequence

from trio_util import AsyncValue

from .control.supervisor import ControlState
from .errors import ConfigurationError
from .services.control_plane import ControlPlane
from .services.registry import Registry, SessionsView
from .services.services import Services, ServicesView
from .services.snapshot import Plan, Snapshot
from .serving.run import Run
from .session.meter import Total
from .session.outline import Outline
from .session.session import Session
from .session.verdict import Reason
from .telemetry.log import Statistics
from .telemetry.trace import Explanation, StageTimes, explain, stage_times


class EdgeFace:
    """An edge that serves, or has served: the base of :class:`Edge`."""

    outline: Outline
    control: ControlPlane | None

    def __init__(self) -> None:
        self.phase: AsyncValue[str] = AsyncValue("idle")
        self.snapshots: AsyncValue[int] = AsyncValue(0)
        self._run: Run | None = None  # the present run, or the last one
        self._serving = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that are listened on now, the edge's own first, with ports; none before and after serving."""
        return () if self._run is None or not self._serving else self._run.addresses()

    @property
    def sessions(self) -> SessionsView:
        """The live sessions, to read: iterate, count, or look one up by id."""
        return SessionsView(_NO_SESSIONS if self._run is None else self._run.supervisor.live)

    @property
    def services(self) -> ServicesView:
        """The services by name, to read, with their policies and what they used."""
        return ServicesView(_NO_SERVICES if self._run is None else self._run.supervisor.services)

    async def plan(self, snapshot: Snapshot) -> Plan:
        """Say what a snapshot would do to services and to the sessions that live now; nothing changes.

        Raises:
            ConfigurationError: the edge has no control plane.
            SnapshotError: it has faults; it lists the first 100 and counts the others.
        """
        if self.control is None:
            raise ConfigurationError("an edge without control=… has no services that a snapshot could change")
        return await self._present().supervisor.applier.plan(snapshot)

    def control_state(self) -> ControlState:
        """Return the state of the connection to the control plane, and of the listeners that policies name."""
        return self._present().control_state()

    async def verify(self, service: str, password: str, source: Session | str | None = None) -> bool:
        """Say whether `password` is the service's: a slow hash in a thread once, then memory for ten minutes.

        An unknown service takes as long. Sources take turns, by the client's session or address: see
        :class:`~trioedge.services.passwords.Passwords`, also for the bounds beyond which the answer is False.
        """
        calls = self._present().calls
        if calls is None:
            raise RuntimeError("this edge is not serving")
        return await calls.verify(service, password, source)

    def explain(self, session: int | Session) -> Explanation:
        """Say which stage decided what on a session, and in how many microseconds.

        Args:
            session: one that lives, or one of the last 1,000 that ended or were refused; or its id.

        Raises:
            KeyError: it is neither.
        """
        if not isinstance(session, Session):
            session = _session(self._run, session)
        return explain(session, self.outline)

    def stage_times(self) -> Sequence[StageTimes]:
        """Say how long each stage took, over all sessions of the present run, or of the last one."""
        return stage_times(self.outline, () if self._run is None or self._run.chain is None else self._run.chain.counts)

    def evict(
        self,
        *,
        service: str | None = None,
        source: str | None = None,
        device: str | None = None,
        session: int | Session | None = None,
    ) -> int:
        """Cut the live sessions that match everything named, with reason ``evicted``, and say how many.

        All have their `cut_reason` when this returns. Up to 64 are closed by then; of more, all soon, in slices. One
        that is inside a middleware is closed when its task next runs. Costs what it cuts. A prefix wider than
        `source_prefix` looks at every source: 16,384 at once, at others later; the number is of those cut so far.

        Args:
            service: sessions of this service.
            source: sessions of this address, in any spelling, or of this prefix: ``2001:db8::/64``, ``192.0.2.0/24``.
            device: sessions of this device of `service`, as a device limit names it.
            session: this session, or the one with this id.

        Raises:
            TypeError: nothing is named (to cut all, :meth:`drain`), or a device without its service.
            ConfigurationError: `source` is no address and no prefix.
        """
        if service is None and source is None and device is None and session is None:
            raise TypeError("evict() needs a service, a source, a device or a session")
        if isinstance(session, Session):
            session = session.id
        live = _NO_SESSIONS if self._run is None else self._run.supervisor.live
        found = live.search(service=service, source=source, device=device, session=session)
        return live.evictions.search(found, Reason.EVICTED)

    def statistics(self) -> Statistics:
        """Give the counts of the present run, or of the last one; costs the same however many sessions live."""
        return Statistics(0, 0, {}, {}, 0, 0) if self._run is None else self._run.statistics()

    def drain(self) -> None:
        """Stop accepting; :meth:`serve` returns when the sessions have finished, or cuts them at the deadline."""
        if self._run is not None:
            self._run.drain()

    def reload(self) -> None:
        """Read the control plane's source again and reopen the access log, as SIGHUP does; live sessions go on."""
        if self._serving and self._run is not None:
            self._run.reload()

    def relevel(self) -> None:
        """Log by the level that structlog is set up with now; call it after a change while the edge serves."""
        if self._run is not None:
            self._run.relevel()

    def _present(self) -> Run:
        if self._run is None:
            raise RuntimeError("this edge is not serving")
        return self._run


def _session(run: Run | None, number: int) -> Session:
    """Find a session of a run that lives or has ended lately."""
    if run is not None:
        recent = () if run.sessions is None else run.sessions.recent
        found = run.supervisor.live.get(number) or next((each for each in recent if each.id == number), None)
        if found is not None:
            return found
    raise KeyError(number)


_NO_SERVICES = Services(Total(), Total(), governed=True)
_NO_SESSIONS = Registry(_NO_SERVICES)
