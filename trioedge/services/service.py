"""A service: one tenant of an edge, one object for as long as the control plane names it."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..addresses.rules import SourceRules
from ..errors import quote
from ..session.meter import Meter
from ..session.state import State
from ..session.verdict import Reason, Reject
from ..structures.gcra import RateSpec
from .policy import Policy, Settings
from .terms.quota import QuotaCount

if TYPE_CHECKING:
    from ..session.session import Session
    from ..structures.shared.limits import EdgeLimits

UNKNOWN_SERVICE: Final = Reject(Reason.SERVICE, "no such service")
DISABLED_SERVICE: Final = Reject(Reason.SERVICE, "the service is disabled")
USED_UP: Final = Reject(Reason.QUOTA, "the service's quota is used up")
EXPIRED: Final = Reject(Reason.EXPIRED, "the service has expired")


@attrs.define(eq=False, slots=True, repr=False)
class Service:
    """One tenant, for as long as the control plane names it.

    A snapshot swaps its policy in place: sessions, gates and meters keep the same object. A service that is removed
    and named again is a new object with a new `incarnation`.

    Comparing a service with text raises TypeError, because a silent False would open a gate: compare its `name`.
    :class:`Services` has the table of its states.

    Attributes:
        name: the control plane's name for it, 1 to 255 letters; empty for the unnamed service of an edge with a control
            plane.
        incarnation: unique within one run of an edge; totals in reports begin at 0 with each.
        settings: the settings of the last snapshot.
        policy: the policy of the settings, one look-up nearer.
        session_rate: its session rate and burst, as a gate takes them; None where the policy has none.
        rules: its source rules, compiled; None where it has none.
        upstream: the live object behind ``policy.outbound``, which the endpoint keeps; None where there is none.
        up: bytes to its upstream.
        down: bytes to its clients.
        opened: sessions so far, those included that began as another service's.
        live: sessions now.
        refusal: the refusal of new sessions; None if it may have sessions.
        over: the same because its quota is used up or it has expired; None if neither is so.
        quota: the count of its bytes, from its first quota on; None where it never had one.
        quota_used: bytes that count for its quota now, both directions together, over all workers.
        max_sessions: live sessions that it may have; infinity for no limit.
        default_max_sessions: the same where its policy says nothing.
        removed: whether the control plane has removed it; sessions that are still live are ending.
        listen_errors: why listeners that its policy names are not open, one line each; they are tried again.
        by_source: its live sessions by the key of their source; the registry changes it.
        everywhere: counts its live sessions over all workers; None in a process alone.
    """

    name: str
    incarnation: int
    settings: Settings
    up: Meter
    down: Meter
    default_max_sessions: float = inf
    policy: Policy = attrs.field(init=False)
    session_rate: RateSpec | None = attrs.field(init=False)
    refusal: Reject | None = attrs.field(init=False)
    over: Reject | None = None
    quota: QuotaCount | None = None
    max_sessions: float = attrs.field(init=False)
    rules: SourceRules | None = None
    upstream: Any = None
    opened: int = 0
    live: int = 0
    removed: bool = False
    listen_errors: tuple[str, ...] = ()
    by_source: "dict[bytes, set[Session]]" = attrs.field(factory=dict)
    everywhere: "EdgeLimits | None" = None
    _state: State | None = None

    def __attrs_post_init__(self) -> None:
        self.swap(self.settings, None)

    def __repr__(self) -> str:
        return f"Service({self.name!r}, live={self.live})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            raise TypeError(
                f"a service is compared with {quote(other)}: write .name, as in session.service.name == {quote(other)}"
            )
        return self is other

    def __hash__(self) -> int:
        return hash(self.name)  # so that a look-up by name in a dict of services calls `__eq__`, which raises

    @property
    def state(self) -> State:
        """Data that stages keep for the service, one value of each type; it is dropped with the service."""
        if self._state is None:
            self._state = State()
        return self._state

    @property
    def key_name(self) -> str:
        """Its name; a service is the same key as its name in a table that several workers share."""
        return self.name

    @property
    def quota_used(self) -> int:
        """Bytes that count for its quota now, both directions together; its policy's `quota_used` without a quota."""
        return self.policy.quota_used if self.quota is None else self.quota.used

    # The edge calls these; stages do not.

    def is_full(self) -> bool:
        """Tell whether as many sessions as it may have are live, those of all workers together."""
        if self.live >= self.max_sessions:
            return True
        if self.everywhere is None or self.max_sessions == inf:
            return False
        return self.everywhere.total(self.name) >= self.max_sessions

    def swap(self, settings: Settings, rules: SourceRules | None) -> None:
        """Apply other settings from now on.

        Args:
            settings: policy and credentials.
            rules: the source rules of the policy, compiled.
        """
        self.settings = settings
        self.policy = policy = settings.policy
        self.rules = rules
        self.session_rate = None if policy.session_rate is None else RateSpec(policy.session_rate, policy.session_burst)
        self.refusal = self.over if policy.enabled else DISABLED_SERVICE
        said = policy.max_sessions
        self.max_sessions = self.default_max_sessions if said is None else inf if isinstance(said, str) else said

    def judge(self, over: Reject | None) -> None:
        """Refuse sessions because of its quota or its expiry, and end those that move bytes; or admit them, by None."""
        self.over = self.up.refusal = self.down.refusal = over
        if not self.removed:
            self.refusal = over if self.policy.enabled else DISABLED_SERVICE

    @contextmanager
    def under(self, settings: Settings, rules: SourceRules | None) -> Iterator[None]:
        """Apply other settings within a block that waits for nothing, so that a decision in it answers by them.

        After the block, also after an exception, the former settings and rules apply again.
        """
        before = self.settings, self.rules
        if settings is before[0]:
            yield
            return
        self.swap(settings, rules)
        try:
            yield
        finally:
            self.swap(*before)

    def remove(self) -> None:
        """Refuse every session from now on. The snapshot that removes the service evicts its live sessions."""
        self.removed = True
        self.refusal = UNKNOWN_SERVICE

    def release(self) -> None:
        """Drop all that refers to it, once it is removed and its last session has ended."""
        for meter in (self.up, self.down):
            meter.attach(None)
            meter.check_with(None)
        self.quota = None  # which refers to the service
        self._state = None
