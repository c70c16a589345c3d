"""The settings of one service, and what the change of a field does to its live sessions.

Policy and credentials are two parts of the settings: a change of one never touches the other.
"""

from collections.abc import Callable, Generator
from enum import StrEnum
from typing import Any, Final, TypeVar

import attrs

from ..addresses.address import parse_address
from ..arguments import choice_fault, count_fault, flag_fault, number_fault
from ..errors import ConfigurationError
from .credentials import Credentials
from .device_rules import DeviceRules, Handover, Unchecked
from .key_classes import defaults_of
from .rates import parse_rate

T = TypeVar("T")


class Fate(StrEnum):
    """What the change of a field does to live sessions. New sessions always get the new value."""

    KEEP = "keep"
    """They stay as they are."""
    RETUNE = "retune"
    """They go on with the new value."""
    RECHECK = "recheck"
    """They are judged again, and those that would be refused now are cut."""
    EVICT = "evict"
    """They are cut."""


MAX_PRECONNECT: Final = 1000

NO_OUTBOUND: Final = "needs an outbound to connect to"
"""What is wrong with a `preconnect` without an `outbound`."""


def _rule(fate: Fate, check: Callable[[Any], str]) -> dict[str, Any]:
    """Make the metadata of a field: the fate of live sessions, and what is wrong with a value."""
    return {"fate": fate, "check": check}


def _rate(value: Any) -> str:
    return "" if value is None else number_fault(value, above=0)


def _bytes_per_second(value: Any) -> str:
    return "" if value is None else number_fault(value, minimum=1)


def _seconds(value: Any) -> str:
    return "" if value is None else number_fault(value)


def _count(value: Any) -> str:
    return "" if value is None else count_fault(value)


def _idle(value: Any) -> str:
    return count_fault(value, minimum=0, maximum=MAX_PRECONNECT)


def _choice(of: type[StrEnum]) -> Callable[[Any], str]:
    choices = tuple(of)
    return lambda value: "" if value is None else choice_fault(value, choices)


def _entries(value: Any) -> str:
    return "" if isinstance(value, tuple) else "must be a tuple of addresses, prefixes or ranges"


def _destination(value: Any) -> str:
    if value is not None:
        try:
            parse_address(value)
        except ConfigurationError as error:
            return f"is no destination: {error}"
    return ""


def _read_rate(name: str, value: float | str | None) -> float | None:
    """Read a rate from text, and leave every other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return parse_rate(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"Policy({name}=...): {error}") from None


def _read_down_rate(value: float | str | None) -> float | None:
    return _read_rate("down_rate", value)


def _read_up_rate(value: float | str | None) -> float | None:
    return _read_rate("up_rate", value)


@attrs.frozen(slots=True, kw_only=True)
class Policy:
    """The limits of one service, and where its sessions go. Where a field is None, the argument of the stage applies.

    Only the text of a rate is read at once. All other values are checked when a snapshot is applied, and a snapshot
    with a fault is refused whole; see :func:`faults`.

    ``policy[Hours]`` gives the keys of a user's stage: the `Hours` among `stages`, or ``Hours()`` if there is none.

    Raises:
        ConfigurationError: ``Policy(down_rate=...): rate '10 MB' must be at least 1, ...``.
    """

    enabled: bool = attrs.field(default=True, metadata=_rule(Fate.EVICT, flag_fault))
    """Whether the service may have sessions."""
    session_rate: float | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _rate))
    """New sessions per second."""
    session_burst: int = attrs.field(default=32, metadata=_rule(Fate.KEEP, count_fault))
    """New sessions at once after a pause. Without `session_rate` it has no effect."""
    max_sessions: int | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _count))
    """Live sessions at once."""
    down_rate: float | None = attrs.field(
        default=None, metadata=_rule(Fate.RETUNE, _bytes_per_second), converter=_read_down_rate
    )
    """Bytes per second to the service's clients, over all of its sessions. May be written as ``"10 MB/s"``."""
    up_rate: float | None = attrs.field(
        default=None, metadata=_rule(Fate.RETUNE, _bytes_per_second), converter=_read_up_rate
    )
    """Bytes per second to the service's upstream, over all of its sessions. May be written as ``"10 MB/s"``."""
    device_limit: int | None = attrs.field(default=None, metadata=_rule(Fate.RECHECK, _count))
    """Devices with a live session at once."""
    device_handover: Handover | None = attrs.field(default=None, metadata=_rule(Fate.RECHECK, _choice(Handover)))
    """What happens when one more device comes."""
    device_hold_seconds: float | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _seconds))
    """How long ``hold`` tolerates one device too many."""
    device_unchecked: Unchecked | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _choice(Unchecked)))
    """How a device is treated when its check is not answered in time."""
    device_stale_seconds: float | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _seconds))
    """How long ``stale_for`` uses a verdict after it expired."""
    accept: tuple[str, ...] = attrs.field(default=(), metadata=_rule(Fate.RECHECK, _entries))
    """Sources that are accepted: addresses, prefixes, ranges. If empty, all that are not rejected."""
    reject: tuple[str, ...] = attrs.field(default=(), metadata=_rule(Fate.RECHECK, _entries))
    """Sources that are rejected. The longest prefix wins."""
    outbound: str | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _destination))
    """Where the service's sessions go: ``tcp://host:port`` or ``unix:///path``."""
    preconnect: int = attrs.field(default=0, metadata=_rule(Fate.KEEP, _idle))
    """Idle connections to `outbound` that are kept ready."""
    stages: tuple[object, ...] = ()
    """Keys of users' stages: one instance of each attrs class that a stage of the chain names as its ``policy``."""

    def __getitem__(self, keys: type[T]) -> T:
        """Return the keys of a stage. All services that say nothing share one instance of the defaults; 0.1 µs.

        Args:
            keys: the attrs class that the stage names as its ``policy``.

        Raises:
            TypeError: `keys` is no such class.
        """
        for each in self.stages:
            if type(each) is keys:
                return each
        defaults: T = defaults_of(keys)  # type: ignore[arg-type]  # mypy takes a class for unhashable
        return defaults

    def device_rules(self, otherwise: DeviceRules) -> DeviceRules:
        """Return the device fields as the device table takes them, with `otherwise` where one is None."""
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
    """What a snapshot says of one service."""

    policy: Policy = Policy()
    credentials: Credentials = Credentials()  # noqa: RUF009 - frozen


FIELDS: Final = tuple(field for field in attrs.fields(Policy) if field.name != "stages")
"""The fields of a policy that are keys of their own in a services file."""

FATES: Final[dict[str, Fate]] = {
    **{field.name: field.metadata["fate"] for field in FIELDS},
    "password_hash": Fate.EVICT,
}
"""The fate of live sessions, by the field that changes. A changed password ends the sessions of the old one."""

_CHECKS: Final = tuple((field.name, field.metadata["check"]) for field in FIELDS)


def faults(policy: Policy, path: str) -> Generator[str, None, None]:
    """Check the fields of a policy, all but two things.

    Source entries are checked by their compiler, and `stages` by :class:`~trioedge.services.stage_keys.StageKeys`.

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
