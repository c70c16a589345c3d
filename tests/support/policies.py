"""Policies for the tests of several modules: good ones, and any that a program may make; and keys of stages."""

from typing import Any

import attrs
from hypothesis import strategies as st

from trioedge.services import policy
from trioedge.services.credentials import Credentials
from trioedge.services.device_rules import Handover, Unchecked
from trioedge.services.policy import Fate, Policy, Settings
from trioedge.services.stage_keys import StageKeys

rates = st.none() | st.floats(1e-3, 1e9)
byte_rates = st.none() | st.sampled_from([1, 1e6])
counts = st.none() | st.integers(1, 1000)
seconds = st.floats(0, 1e6)
entries = st.lists(
    st.sampled_from(["192.0.2.1", "192.0.2.0/24", "10.0.0.0/8", "10.0.0.1-10.0.0.9", "2001:db8::/32", "unix"]),
    max_size=3,
    unique=True,
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Policies without a fault, most of whose fields are as by default."""
    accept, reject = draw(entries), draw(entries)
    outbound = draw(st.none() | st.sampled_from(["tcp://192.0.2.9:6379", "unix:///run/x.sock"]))
    values: dict[str, st.SearchStrategy[Any]] = {
        "enabled": st.booleans(),
        "session_rate": rates,
        "session_burst": st.integers(1, 100),
        "max_sessions": counts | st.just("unlimited"),
        "down_rate": byte_rates,
        "up_rate": byte_rates,
        "quota_bytes": st.none() | st.sampled_from([1, 50_000_000_000]),
        "quota_used": st.integers(0, 2),
        "expires_at": st.none() | st.sampled_from([1.5, 4_000_000_000]),
        "device_limit": counts,
        "device_handover": st.sampled_from(Handover),
        "device_hold_seconds": seconds,
        "device_pause_seconds": seconds,
        "device_unchecked": st.sampled_from(Unchecked),
        "device_stale_seconds": seconds,
        "accept": st.just(tuple(accept)),
        "reject": st.just(tuple(each for each in reject if each not in accept)),
        "preconnect": st.integers(0, 1000) if outbound else st.just(0),
    }
    fields = draw(st.sets(st.sampled_from(sorted(values)), max_size=4))
    said = {name: draw(values[name]) for name in sorted(fields)}
    if said.get("session_rate") is None:
        said.pop("session_burst", None)  # which needs the rate
    return Policy(outbound=outbound, **said)


HASHES = (
    None,
    "scrypt:1:MDEyMzQ1Njc4OWFiY2RlZg==:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "$scrypt$ln=1,r=8,p=1$ZmVkY2JhOTg3NjU0MzIxMA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
)

some_settings = st.builds(Settings, policies(), st.builds(Credentials, st.sampled_from(HASHES)))

anything: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.lists(st.integers() | st.text(max_size=5), max_size=3)
    | st.tuples(st.lists(st.text(max_size=5), max_size=1))
    | st.tuples(st.integers() | st.none())
)

TEXTS = ("down_rate", "up_rate", "quota_bytes", "quota_used", "expires_at")
"""Fields whose text is read at once, and refused if it is none of theirs."""

FIELDS = tuple(field.name for field in policy.FIELDS)

any_policies = (
    st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4)
    .filter(lambda said: not any(isinstance(said.get(field), str) for field in TEXTS))
    .map(lambda said: Policy(**said))
)


@attrs.frozen
class Hours:
    """Keys of a stage that accepts sessions at certain hours."""

    since: int = attrs.field(default=0, validator=attrs.validators.in_(range(25)))
    until: int = attrs.field(default=24, metadata={"fate": Fate.RECHECK})


@attrs.frozen
class DailyQuota:
    """Keys of a stage that counts bytes."""

    per_day: int | None = attrs.field(default=None, metadata={"fate": "evict"})
    days: tuple[str, ...] = ()
    token: str = attrs.field(default="", repr=False)


STAGE_KEYS = StageKeys([Hours, DailyQuota])

stages = st.tuples(
    st.none() | st.builds(Hours, st.integers(0, 24), st.integers(0, 24)),
    st.none() | st.builds(DailyQuota, st.none() | st.integers(1, 9), st.just(()) | st.just(("mon", "tue"))),
).map(lambda made: tuple(each for each in made if each is not None))
"""Keys of stages without a fault, for `Policy.stages`."""
