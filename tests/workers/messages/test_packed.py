"""Settings as bytes, and values of stages that cannot be sent."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trioedge as te
from tests.support.steps import run_steps
from trioedge.services.policy import Settings
from trioedge.services.stage_keys import StageKeys
from trioedge.workers.messages.packed import ENTRIES_PER_PIECE, SendableKeys, pack_settings, unpack_settings


@attrs.frozen
class Hours:
    since: int = 0
    word: Any = attrs.field(default=None, repr=False)


def there_and_back(settings: Settings) -> Settings:
    return run_steps(unpack_settings(run_steps(pack_settings(settings))))


policies = st.builds(
    te.Policy,
    enabled=st.booleans(),
    session_rate=st.none() | st.floats(1, 100),
    session_burst=st.integers(1, 1_000),
    max_sessions=st.none() | st.integers(1, 10) | st.just("unlimited"),
    device_limit=st.none() | st.integers(1, 5),
    accept=st.lists(st.just("192.0.2.0/24"), max_size=3).map(tuple),
    destination=st.none() | st.just("tcp://192.0.2.1:80"),
    stages=st.lists(st.builds(Hours, since=st.integers(0, 5)), max_size=1).map(tuple),
)


@given(policies, st.none() | st.just("sha256:" + 64 * "a"))
def test_settings_come_back_equal(policy: te.Policy, password_hash: str | None) -> None:
    settings = Settings(policy, te.Credentials(password_hash))
    assert there_and_back(settings) == settings


@pytest.mark.parametrize("count", [ENTRIES_PER_PIECE, ENTRIES_PER_PIECE + 1, 10 * ENTRIES_PER_PIECE])
def test_long_lists_go_in_pieces(count: int) -> None:
    entries = tuple(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(count))
    settings = Settings(te.Policy(accept=entries, reject=entries[:5]))
    pieces = run_steps(pack_settings(settings))
    assert len(pieces) == (1 if count <= ENTRIES_PER_PIECE else 1 + -(-count // ENTRIES_PER_PIECE))
    assert max(map(len, pieces)) < 64 * ENTRIES_PER_PIECE
    assert run_steps(unpack_settings(pieces)) == settings


def test_values_that_can_be_sent_have_no_fault() -> None:
    assert [*SendableKeys([Hours]).faults((Hours(8),), "services.shop")] == []


def test_a_value_that_cannot_be_sent_is_named() -> None:
    class Local:
        """A class that no other process can find by its name."""

    (fault,) = SendableKeys([Hours]).faults((Hours(word=Local()),), "services.shop")
    assert fault.startswith("services.shop.hours.word cannot be sent to the workers: ")
    assert "Local object" not in fault, "the field is not to be shown"


def test_a_class_that_cannot_be_sent_is_named() -> None:
    @attrs.frozen
    class Local:
        since: int = 0

    (fault,) = SendableKeys([Local]).faults((Local(),), "services.shop")
    assert fault.startswith("services.shop.local cannot be sent to the workers: ")


def test_other_faults_come_first_and_are_those_of_one_process() -> None:
    stages = (Hours(since="early"),)  # type: ignore[arg-type]
    here, there = StageKeys([Hours]), SendableKeys([Hours])
    assert [*there.faults(stages, "services.shop")] == [*here.faults(stages, "services.shop")] != []
