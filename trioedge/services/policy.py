"""What a control plane says of one service: its policy, its credentials, and what a change does to live sessions.

Seed, layer six: authentication state and policy state are two things, and a change of one moves nothing of the other.
"""

from collections.abc import Callable, Generator, Iterator
from enum import StrEnum
from typing import Any, Final

import attrs

from ..addresses.address import parse_address
from ..errors import ConfigurationError
from .credentials import Credentials
from .device_rules import DeviceRules, Handover, Unchecked


class Fate(StrEnum):
    """What the change of a field does to sessions that live already; new ones always get the new value."""

    KEEP = "keep"
    """Nothing."""
    RETUNE = "retune"
    """They go on with the new value."""
    RECHECK = "recheck"
    """They are judged again, and those that would be refused now are cut."""
    EVICT = "evict"
    """They are cut."""


LARGEST: Final = 2**63
"""No number reaches it, so that each has a float."""

NO_OUTBOUND: Final = "needs an outbound to connect to"
"""What is wrong with a `preconnect` that stands alone."""

ENTRIES_PER_STEP: Final = 512
"""Of long lists, between two yields; each takes some 10 µs."""


def _rule(fate: Fate, check: Callable[[Any], str]) -> dict[str, Any]:
    """Say of a field what its change does, and what is wrong with a value."""
    return {"fate": fate, "check": check}


def _number(value: Any, *, above: bool) -> str:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if fits and (0 < value < LARGEST if above else 0 <= value < LARGEST):
        return ""
    return "must be a number above 0" if above else "must be a number of at least 0"


def _rate(value: Any) -> str:
    return "" if value is None else _number(value, above=True)


def _byte_rate(value: Any) -> str:
    if value is None or (not _number(value, above=True) and value >= 1):
        return ""
    return "must be a number of at least 1"


def _seconds(value: Any) -> str:
    return _number(value, above=False)


def _count(value: Any) -> str:
    fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value < LARGEST
    return "" if fits else "must be a whole number of at least 1"


def _or_none(check: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "" if value is None else check(value)


def _idle(value: Any) -> str:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1000
    return "" if fits else "must be a whole number from 0 to 1000"


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _choice(of: type[StrEnum]) -> Callable[[Any], str]:
    choices = " or ".join(repr(str(each)) for each in of)
    return lambda value: "" if value in tuple(of) else f"must be {choices}"


def _entries(value: Any) -> str:
    return "" if isinstance(value, tuple) else "must be a tuple of addresses, prefixes or ranges"


def _destination(value: Any) -> str:
    if value is not None:
        try:
            parse_address(value)
        except ConfigurationError as error:
            return f"is no destination: {error}"
    return ""


_count_or_none, _seconds_or_none = _or_none(_count), _or_none(_seconds)
_handover, _unchecked = _or_none(_choice(Handover)), _or_none(_choice(Unchecked))


@attrs.frozen(slots=True, kw_only=True)
class Policy:
    """The limits of one service and where its sessions go. Where it says None, the stage's own argument holds.

    Anything may be written into one; a snapshot with a policy that cannot be is refused whole, see :func:`faults`.
    """

    enabled: bool = attrs.field(default=True, metadata=_rule(Fate.EVICT, _flag))
    """Whether it may have sessions at all."""
    session_rate: float | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _rate))
    """Sessions a second."""
    session_burst: int = attrs.field(default=32, metadata=_rule(Fate.KEEP, _count))
    """Sessions at once after a rest; says something only beside `session_rate`."""
    max_sessions: int | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _count_or_none))
    """Sessions live at once."""
    down_rate: float | None = attrs.field(default=None, metadata=_rule(Fate.RETUNE, _byte_rate))
    """Bytes a second to its clients, over all of its sessions."""
    up_rate: float | None = attrs.field(default=None, metadata=_rule(Fate.RETUNE, _byte_rate))
    """Bytes a second to its upstream, over all of its sessions."""
    device_limit: int | None = attrs.field(default=None, metadata=_rule(Fate.RECHECK, _count_or_none))
    """Devices with a live session at once."""
    device_handover: Handover | None = attrs.field(default=None, metadata=_rule(Fate.RECHECK, _handover))
    """What happens when one more device comes."""
    device_hold_seconds: float | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _seconds_or_none))
    """How long ``hold`` lets one device too many be."""
    device_unchecked: Unchecked | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _unchecked))
    """What holds for a device when nobody answers the check in time."""
    device_stale_seconds: float | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _seconds_or_none))
    """How long after it expired ``stale_for`` goes by a verdict."""
    accept: tuple[str, ...] = attrs.field(default=(), metadata=_rule(Fate.RECHECK, _entries))
    """Sources that may come: addresses, prefixes, ranges. With none, all that are not rejected."""
    reject: tuple[str, ...] = attrs.field(default=(), metadata=_rule(Fate.RECHECK, _entries))
    """Sources that may not. The longest prefix wins."""
    outbound: str | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _destination))
    """Where its sessions go: ``tcp://host:port`` or ``unix:///path``."""
    preconnect: int = attrs.field(default=0, metadata=_rule(Fate.KEEP, _idle))
    """Connections to `outbound` that are kept ready."""

    def device_rules(self, otherwise: DeviceRules) -> DeviceRules:
        """Give the device fields as the device table takes them; where one says None, what `otherwise` says."""
        said: dict[str, Any] = {
            "limit": self.device_limit,
            "handover": self.device_handover,
            "hold_seconds": self.device_hold_seconds,
            "unchecked": self.device_unchecked,
            "stale_seconds": self.device_stale_seconds,
        }
        return attrs.evolve(otherwise, **{name: value for name, value in said.items() if value is not None})


@attrs.frozen(slots=True)
class Settings:
    """All that a snapshot says of one service."""

    policy: Policy = Policy()
    credentials: Credentials = Credentials()  # noqa: RUF009 - frozen


FATES: Final[dict[str, Fate]] = {
    **{field.name: field.metadata["fate"] for field in attrs.fields(Policy)},
    "password_hash": Fate.EVICT,
}
"""The fate of live sessions, by the field that changes. A changed password ends what the old one opened."""

_CHECKS: Final = tuple((field.name, field.metadata["check"]) for field in attrs.fields(Policy))


def faults(policy: Policy, path: str) -> Iterator[str]:
    """Give everything that is wrong with a policy but its source entries, which their compiler reads.

    Args:
        policy: what was written.
        path: where, as in ``services.shop``.

    Yields:
        ``services.shop.session_rate = 0 must be a number above 0``.
    """
    for name, check in _CHECKS:
        value = getattr(policy, name)
        if wrong := check(value):
            yield f"{path}.{name} = {value!r} {wrong}"
    if policy.preconnect and policy.outbound is None:
        yield f"{path}.preconnect = {policy.preconnect!r} {NO_OUTBOUND}"


def changed_fields(before: Settings, after: Settings) -> Generator[None, None, tuple[str, ...]]:
    """Name the fields in which two settings differ, none for equal ones; in short steps, however long the lists."""
    old, new = before.policy, after.policy
    short = len(old.accept) + len(old.reject) <= ENTRIES_PER_STEP
    if before is after or (short and before == after):
        return ()
    fields = []
    for name, check in _CHECKS:
        one, other = getattr(old, name), getattr(new, name)
        if not ((yield from _equal(one, other)) if check is _entries else one == other):
            fields.append(name)
    if before.credentials != after.credentials:
        fields.append("password_hash")
    return tuple(fields)


def _equal(entries: tuple[str, ...], others: tuple[str, ...]) -> Generator[None, None, bool]:
    if not isinstance(others, tuple) or len(entries) != len(others):
        return False
    for start in range(0, 0 if entries is others else len(entries), ENTRIES_PER_STEP):
        end = start + ENTRIES_PER_STEP
        if entries[start:end] != others[start:end]:
            return False
        yield
    return True
