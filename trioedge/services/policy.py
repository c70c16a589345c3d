"""The settings of one service, and the fate of its live sessions when a field changes.

Policy and credentials are two parts of the settings: a change of one never touches the other. The keys of a user's
stage are an attrs class; its instances are part of a policy.
"""

import re
from collections.abc import Callable, Generator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar, cast

import attrs

from ..addresses.address import parse_address
from ..addresses.open_ports import listeners_fault
from ..arguments import choice_fault, count_fault, flag_fault, number_fault
from ..errors import MAX_QUOTED_LETTERS, ConfigurationError, quote
from .credentials import Credentials
from .device_rules import DeviceRules, Handover, Unchecked
from .rates import parse_rate

T = TypeVar("T")


class Fate(StrEnum):
    """The effect of a changed field on live sessions. New sessions always get the new value."""

    KEEP = "keep"
    """Live sessions stay as they are."""
    RETUNE = "retune"
    """Live sessions go on with the new value."""
    RECHECK = "recheck"
    """Live sessions are judged again, and those that would be refused now are cut."""
    EVICT = "evict"
    """Live sessions are cut."""


MAX_PRECONNECT: Final = 1000

UNLIMITED_SESSIONS: Final = "unlimited"
"""The `max_sessions` of a service that may have as many as the edge."""

DEFAULT_MAX_SESSIONS: Final = 1_000
"""Live sessions of a service whose policy says nothing, so that one tenant, or a loop, cannot take the whole edge."""

NEEDS: Final = {
    "session_burst": (("session_rate",), "needs a session_rate"),
    "preconnect": (("destination", "outbound"), "needs a destination to connect to"),
}
"""Fields that do nothing without another one: the names of the others, and the fault if all of them are None."""

OUTBOUND_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
"""The names of an edge's ``outbounds=``. A host or an address is none, so that a forgotten ``tcp://`` is noticed."""


def _rule(fate: Fate, check: Callable[[Any], str]) -> dict[str, Any]:
    """Make the metadata of a field: the fate of live sessions, and the check that returns the fault of a value.

    A fault that begins with ``[`` is that of one entry and names its value; see :func:`fault_of`.
    """
    return {"fate": fate, "check": check}


def _rate(value: Any) -> str:
    return "" if value is None else number_fault(value, above=0)


def _bytes_per_second(value: Any) -> str:
    return "" if value is None else number_fault(value, minimum=1)


def _seconds(value: Any) -> str:
    return "" if value is None else number_fault(value)


def _count(value: Any) -> str:
    return "" if value is None else count_fault(value)


def _sessions(value: Any) -> str:
    fault = "" if value == UNLIMITED_SESSIONS else _count(value)
    return f"{fault}, or {UNLIMITED_SESSIONS!r}" if fault else ""


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


def _outbound(value: Any) -> str:
    return "" if isinstance(value, str) and OUTBOUND_NAME.fullmatch(value) else _destination(value)


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
    """The limits of one service, and the destination of its sessions. If a field is None, the stage's argument applies.

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
    """New sessions at once after a pause; needs a `session_rate`."""
    max_sessions: int | Literal["unlimited"] | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _sessions))
    """Live sessions at once, or ``unlimited``; under a control plane 1,000, if neither this nor a stage says it."""
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
    """The action when one more device comes."""
    device_hold_seconds: float | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _seconds))
    """How long ``hold`` tolerates one device too many."""
    device_pause_seconds: float | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _seconds))
    """How long a device that was cut for another one may cut none itself."""
    device_unchecked: Unchecked | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _choice(Unchecked)))
    """The treatment of a device whose check is not answered in time."""
    device_stale_seconds: float | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _seconds))
    """How long ``stale_for`` uses a verdict after it expired."""
    accept: tuple[str, ...] = attrs.field(default=(), metadata=_rule(Fate.RECHECK, _entries))
    """Sources that are accepted: addresses, prefixes, ranges. If empty, all sources that are not rejected."""
    reject: tuple[str, ...] = attrs.field(default=(), metadata=_rule(Fate.RECHECK, _entries))
    """Sources that are rejected. The longest prefix wins."""
    listen: tuple[str, ...] = attrs.field(default=(), metadata=_rule(Fate.KEEP, listeners_fault))
    """Listeners of the service alone: ``tcp://0.0.0.0:20001``. They must be within ``Edge(open_ports=…)``."""
    destination: str | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _destination))
    """Where the service's sessions go: ``tcp://host:port`` or ``unix:///path``."""
    outbound: str | None = attrs.field(default=None, metadata=_rule(Fate.KEEP, _outbound))
    """Which way they go: a name among the edge's ``outbounds=``. An address is a `destination`, the usual way."""
    preconnect: int = attrs.field(default=0, metadata=_rule(Fate.KEEP, _idle))
    """Idle connections to the destination that are kept ready; needs a destination."""
    stages: tuple[object, ...] = ()
    """Keys of users' stages: one instance of each attrs class that a stage of the chain names as its ``policy``."""

    def __getitem__(self, keys: type[T]) -> T:
        """Return the keys of a stage. Services without an instance share one with the defaults. Takes 0.1 µs.

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

    @property
    def to(self) -> str | None:
        """The address that its sessions go to: its `destination`, or an `outbound` that is an address."""
        return self.destination if self.way is not None or self.destination is not None else self.outbound

    @property
    def way(self) -> str | None:
        """The name of the edge's outbound that its sessions take; None for the endpoint's own."""
        return None if self.outbound is None or "://" in self.outbound else self.outbound

    def device_rules(self, otherwise: DeviceRules) -> DeviceRules:
        """Return the device fields as the device table takes them, with `otherwise` where one is None."""
        said: dict[str, Any] = {
            "limit": self.device_limit,
            "handover": self.device_handover,
            "hold_seconds": self.device_hold_seconds,
            "pause_seconds": self.device_pause_seconds,
            "unchecked": self.device_unchecked,
            "stale_seconds": self.device_stale_seconds,
        }
        return attrs.evolve(otherwise, **{name: value for name, value in said.items() if value is not None})


@attrs.frozen(slots=True)
class Settings:
    """The settings of one service in a snapshot."""

    policy: Policy = Policy()
    credentials: Credentials = Credentials()  # noqa: RUF009 - frozen


def is_settings(value: object) -> bool:
    """Return whether a value of a snapshot can be compared with settings. Takes 0.1 µs."""
    return (
        isinstance(value, Settings) and isinstance(value.policy, Policy) and isinstance(value.credentials, Credentials)
    )


FIELDS: Final = tuple(field for field in attrs.fields(Policy) if field.name != "stages")
"""The fields of a policy that are keys of their own in a services file."""

FATES: Final[dict[str, Fate]] = {
    **{field.name: field.metadata["fate"] for field in FIELDS},
    "password_hash": Fate.EVICT,
}
"""The fate of live sessions, by the field that changes. A changed password ends the sessions of the old one."""

DEFAULTS: Final = Policy()
"""The policy of a service that says nothing."""

_CHECKS: Final = tuple((field.name, field.metadata["check"]) for field in FIELDS)


def faults(policy: Policy, path: str) -> Generator[str, None, None]:
    """Check the fields of a policy.

    Four checks are made elsewhere: that of source entries by their compiler, that of `stages` by
    :class:`~trioedge.services.stage_keys.StageKeys`, that of the outbound's name by :mod:`.applying.outbounds`, and
    whether the edge may have a listener by :mod:`.listening.ports`.

    Args:
        policy: any values in its fields.
        path: of the service, as in ``services.shop``.

    Yields:
        ``services.shop.session_rate = 0 must be a number above 0``.
    """
    for name, check in _CHECKS:
        value = getattr(policy, name)
        wrong = check(value)
        if not wrong and name in NEEDS and value != getattr(DEFAULTS, name):
            others, fault = NEEDS[name]
            wrong = fault if all(getattr(policy, other) is None for other in others) else ""
        if wrong:
            yield f"{path}.{name}{fault_of(value, wrong, 1_000)}"


def fault_of(value: object, wrong: str, letters: int = MAX_QUOTED_LETTERS) -> str:
    """Write a fault as it stands behind the name of its field: of the whole value, which it quotes, or of an entry."""
    return wrong if wrong.startswith("[") else f" = {quote(value, letters)} {wrong}"


_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@lru_cache
def key_of(keys: type) -> str:
    """Return the name of a class's table, its own in snake_case: ``OpenHours`` gives ``open_hours``."""
    return _WORD.sub("_", keys.__name__).lower().strip("_")


@lru_cache
def stage_fields(keys: type) -> Mapping[str, "attrs.Attribute[Any]"]:
    """Return the fields of an attrs class that its constructor takes, by the names that it takes them by."""
    fields = attrs.fields(cast(type[attrs.AttrsInstance], keys))
    return {field.alias or field.name: field for field in fields if field.init}


@lru_cache
def defaults_of(keys: Any) -> Any:
    """Return the defaults of a class: one instance, shared by all policies without an instance of their own.

    Raises:
        TypeError: `keys` is no such class.
    """
    if not (isinstance(keys, type) and attrs.has(keys)):
        raise TypeError(f"policy[...] takes the attrs class that a stage names as its policy, not {quote(keys)}")
    return keys()
