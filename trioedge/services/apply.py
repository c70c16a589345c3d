"""Applies snapshots: takes away at once, then examines each snapshot whole and applies it, in the order of receipt.

| a snapshot is | event | action | then |
| --- | --- | --- | --- |
| new | `apply` is called | take away what it takes away, past all others (:mod:`.applying.turn`) | received |
| new | a cancel | nothing of it is applied | over |
| received | no earlier one is left | compare, check and compile it | examined |
| received | a fault is found, or a cancel | drop the rest, but keep away what was taken away | over |
| examined | - | make its changes, but grant nothing that a later one takes away; a cancel waits | over |
| over | - | the turn of the next one comes | - |

So the last state is that of all snapshots applied one after the other, where a snapshot that is refused or cancelled
counts with what it takes away; and from the moment when a snapshot has been received, nothing is open that it takes
away. A cancel before that leaves no trace of it.

The work is generators that yield often. They run in short slices, so the loop is free again within a millisecond
however large a snapshot is.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, TypeAlias

import trio

from ..loop.collector import MANY, no_full_pass, settle
from ..loop.slices import Stepwise, in_slices
from ..telemetry.log import EdgeLog
from .applying.effects import Effects, Recheck, Tally
from .applying.following import Following, Given
from .applying.outbounds import NO_OUTBOUNDS, OutboundFacts
from .applying.turn import SnapshotTurns, Turn
from .control_plane import SnapshotError
from .examine import Examiner, Found, OwnListener, PolicyWarnings
from .policy import FATES
from .registry import Registry
from .services import Services
from .snapshot import Plan, Snapshot
from .stage_keys import NO_KEYS, StageKeys

APPLY_REST: Final = 4
"""How many times longer the applying of changes rests than it works, beside sessions. Not more, because no cancel ends
it, and what a snapshot takes away is urgent."""


Foresee: TypeAlias = Callable[[Found, Tally], Stepwise[None]]
"""Counts the effect of changes that are not made; it empties the queue of them."""


class SnapshotApplier:
    """Applies the snapshots of one run of an edge.

    Attributes:
        stage_keys: the keys of users' stages that the chain reads; others are faults.
        own_listener: gives the listener of this edge that a destination reaches, or None; such a one is a fault.
        needs_destination: whether sessions are refused if their policy names no destination, which earns a warning.
        on_applied: called after each snapshot that was applied.
        version: of the last snapshot; empty before the first.
        applied_at: when it was applied, in seconds of trio's clock; None before the first.
        error: the reason why there is no news of the control plane; empty when all is well.
        failing_since: the time of the first of these errors; None when all is well.
    """

    def __init__(
        self,
        services: Services,
        live: Registry,
        log: EdgeLog,
        *,
        enforced: Collection[str],
        stage_keys: StageKeys = NO_KEYS,
        outbounds: Mapping[str, OutboundFacts] = NO_OUTBOUNDS,
    ) -> None:
        """Start without a snapshot.

        Args:
            services: the services to change.
            live: the live sessions.
            log: the log.
            enforced: the policy fields that some stage of the chain reads; others earn a warning.
            stage_keys: the keys of users' stages that the chain reads.
            outbounds: of the edge, by name.
        """
        self.stage_keys = stage_keys
        self._services = services
        self._log = log
        self._enforced = frozenset(enforced)
        self._examiner = Examiner(services, stage_keys, outbounds)
        self._outbounds = outbounds
        self._turns = SnapshotTurns()
        self._turn_ended = trio.Event()
        self._effects = Effects(services, live, log, self._turns, self._enforced)
        self._following = Following(services, self._effects, self._examiner)
        self._new = 0  # services added or changed since the last gc.freeze()
        self.needs_destination = False
        self.own_listener: OwnListener = lambda _: None
        self.on_applied: list[Callable[[], object]] = []
        self.version = ""
        self.applied_at: float | None = None
        self.error = ""
        self.failing_since: float | None = None

    @property
    def rechecks(self) -> tuple[Recheck, ...]:
        """The decisions of the chain that are asked again when a policy changes."""
        return self._effects.rechecks

    @rechecks.setter
    def rechecks(self, decisions: tuple[Recheck, ...]) -> None:
        self._effects.rechecks = decisions

    async def apply(self, snapshot: Snapshot) -> Plan:
        """Apply a snapshot: at once what it takes away, and the rest whole or not at all; see :meth:`Link.apply`.

        May be called again before an earlier call has returned; snapshots are applied in the order of the calls.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        began = trio.current_time()
        turn, tally = self._turns.receive(snapshot), Tally()
        warnings = PolicyWarnings(self._enforced, needs_destination=self.needs_destination, outbounds=self._outbounds)
        try:
            with no_full_pass():
                with trio.CancelScope(shield=True):  # what is received is received whole
                    await in_slices(self._effects.take_away(turn, tally), rest=APPLY_REST)
                if tally and self._turns.ahead(turn):
                    self._log.say("snapshot takes away, and waits for its turn", **_facts(snapshot, tally))
                await self._reach(turn)
                try:
                    found = await self._examine(snapshot, warnings, turn.refusal)
                except SnapshotError as error:
                    raise SnapshotError(error.faults, tally.plan()) from None
                with trio.CancelScope(shield=True):  # half of it would leave sessions that the next one does not find
                    await in_slices(self._effects.grant(found, turn, tally), rest=APPLY_REST)
                    self._new += len(tally.added) + len(tally.changed)
                    await self._freeze()
            self.version, self.applied_at = snapshot.version, trio.current_time()
        except BaseException:
            if tally:
                self._log.say("snapshot not applied, but for what it takes away", **_facts(snapshot, tally))
            raise
        finally:
            await self._end(turn)
        self.reached()
        for hook in self.on_applied:
            hook()
        self._warn(warnings)
        plan = tally.plan()
        if plan:
            seconds = round(trio.current_time() - began, 3)
            self._log.say("snapshot applied", **_facts(snapshot, tally), seconds=seconds)
        return plan

    async def follow(self, given: Iterable[Given]) -> Plan:
        """Apply some services as another process has them, which has examined them; a cancel waits until they are.

        The services stand in for a part of a snapshot: the caller says with :meth:`followed` when it has all parts.

        Returns:
            The effect.
        """
        tally = Tally()
        rest = 0 if self.applied_at is None else APPLY_REST  # before the first snapshot there are no sessions
        with trio.CancelScope(shield=True), no_full_pass():
            await in_slices(self._following.follow(given, tally), rest=rest)
        self._new += len(tally.added) + len(tally.changed)
        return tally.plan()

    async def foresee(self, given: Iterable[Given]) -> Plan:
        """Return the effect that :meth:`follow` would have now; nothing changes."""
        tally = Tally()
        with no_full_pass():
            await in_slices(self._following.follow(given, tally, dry_run=True), rest=APPLY_REST)
        return tally.plan()

    async def followed(self, version: str) -> None:
        """Note that the services are those of a version of the other process; a cancel waits."""
        with trio.CancelScope(shield=True):
            await in_slices(self._effects.settle(), rest=APPLY_REST)
            await self._freeze()
        self.version, self.applied_at = version, trio.current_time()
        self.reached()
        for hook in self.on_applied:
            hook()

    async def plan(self, snapshot: Snapshot, foresee: Foresee | None = None) -> Plan:
        """Return the effect that a snapshot would have now; nothing changes.

        Args:
            snapshot: it is examined whole.
            foresee: counts the effect of its changes; by default that on the sessions of this process.

        Raises:
            SnapshotError: it has faults.
        """
        turn, tally = self._turns.receive(Snapshot({}, full=False)), Tally()
        try:
            await self._reach(turn)
            with no_full_pass():
                planned = Turn(snapshot)
                await in_slices(planned.judge(self._services, ()))
                found = await self._examine(snapshot, PolicyWarnings(FATES), planned.refusal)
                await in_slices((foresee or self._effects.foresee)(found, tally))
        finally:
            await self._end(turn)
        return tally.plan()

    async def _reach(self, turn: Turn) -> None:
        """Wait until it is the turn of a snapshot."""
        while self._turns.ahead(turn):
            await self._turn_ended.wait()

    async def _end(self, turn: Turn) -> None:
        """End a turn; the watchers have settled then, unless an earlier snapshot, which settles them, is left."""
        try:
            if self._effects.unsettled and not self._turns.ahead(turn):
                with trio.CancelScope(shield=True):
                    await in_slices(self._effects.settle(), rest=APPLY_REST)
        finally:
            self._turns.end(turn)
            ended, self._turn_ended = self._turn_ended, trio.Event()
            ended.set()

    async def _freeze(self) -> None:
        """Take the services that are new or changed from the garbage collector, once these are many.

        The loop is free afterwards, because the turn of a snapshot that has changed anything ends in slices.
        """
        if self._new > MANY:
            self._new = 0
            await trio.lowlevel.checkpoint()  # `settle` takes as long as some slices
            settle()

    def _warn(self, found: PolicyWarnings) -> None:
        if found.keys:
            self._log.notice("policy not enforced: no stage reads it", keys=found.keys, services=found.services)
        if found.without_destination:
            self._log.notice(
                "policy names no destination: its sessions will be refused", services=found.without_destination
            )

    def reached(self) -> None:
        """Note that the control plane answers."""
        if self.error:
            self._log.say("control plane is back")
        self.error, self.failing_since = "", None

    def failed(self, error: str) -> None:
        """Note that the control plane does not answer, or has no good snapshot."""
        waiting = {} if self.applied_at is not None else {"so": "the edge waits for its services and listens nowhere"}
        self._log.notice("control plane failed", error=error, **waiting)
        if not self.error:
            self.failing_since = trio.current_time()
        self.error = error

    async def _examine(self, snapshot: Snapshot, warnings: PolicyWarnings, refusal: str) -> Found:
        """Examine a snapshot in its turn; `refusal` is the fault of its removals."""
        if refusal:
            raise SnapshotError([*snapshot.faults, refusal])
        found, wrong = await in_slices(self._examiner.examine(snapshot, warnings, self.own_listener))
        if wrong:
            raise SnapshotError(wrong)
        return found


def _facts(snapshot: Snapshot, tally: Tally) -> dict[str, str]:
    """Return the facts of a log line."""
    return {"does": str(tally.plan()), **({"version": snapshot.version} if snapshot.version else {})}
