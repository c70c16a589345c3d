import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.errors import ConfigurationError
from trioedge.stages.devices.grace import REFILL_SECONDS, Grace, GracePool

GRACE = Grace(bytes=1_000, devices=4)
POOL = 4_000

gaps = st.sampled_from([0.0, 0.1, 1.0, 5.0, 30.0, 100.0])
steps = st.lists(st.tuples(gaps, st.integers(0, 3), st.sampled_from(["open", "spend", "close"]), st.integers(1, 1_000)))


class Place:
    """A device in its grace."""

    def __init__(self, granted: int) -> None:
        self.granted = self.left = granted


def most_spent_over_the_promise(spent: list[tuple[float, int]]) -> float:
    """How far some stretch of time goes beyond the promise; below 0 if none does."""
    excess = -float(POOL)
    for first, (since, _) in enumerate(spent):
        total = 0
        for until, number in spent[first:]:
            total += number
            excess = max(excess, total - POOL * (1 + (until - since) / REFILL_SECONDS))
    return excess


@examples(80)
@given(steps)
def test_no_stretch_of_time_sees_more_than_the_pool_and_what_came_back(
    steps: list[tuple[float, int, str, int]],
) -> None:
    """Devices spend when they like; what counts is when the bytes moved, not when they were reserved."""
    pool, now = GracePool(GRACE), 0.0
    places: dict[int, Place] = {}
    spent: list[tuple[float, int]] = []
    for gap, number, step, amount in steps:
        now += gap
        place = places.get(number)
        if step == "open" and place is None:
            places[number] = Place(pool.open(now))
            assert 0 <= places[number].left <= GRACE.bytes
        elif step == "spend" and place is not None:
            moved = min(amount, place.left)
            place.left -= moved
            spent.append((now, moved))
        elif step == "close" and place is not None:
            pool.close(place.granted, place.left, now)
            del places[number]
        assert pool.devices == len(places)
        assert sum(each.granted for each in places.values()) <= POOL
    assert most_spent_over_the_promise(spent) <= 1, "a byte is for rounding"


@pytest.mark.parametrize("start", [0.0, 1e6])
def test_what_was_not_spent_is_back_at_once(start: float) -> None:
    pool = GracePool(GRACE)
    for _ in range(10):
        granted = [pool.open(start) for _ in range(5)]
        assert granted == [1_000] * 4 + [0]
        for each in granted:
            pool.close(each, each, start)
    assert pool.full_at == 0.0


@pytest.mark.parametrize("start", [0.0, 1e6])
def test_what_was_spent_comes_back_within_a_minute(start: float) -> None:
    pool = GracePool(GRACE)
    for granted in [pool.open(start) for _ in range(4)]:
        pool.close(granted, 0, start)
    assert pool.open(start) == 0
    pool.close(0, 0, start)
    granted = pool.open(start + REFILL_SECONDS / 8)
    assert granted in (499, 500), "an eighth of 4,000, less one lost to rounding"
    pool.close(granted, granted, start + REFILL_SECONDS / 8)
    assert pool.full_at == pytest.approx(start + REFILL_SECONDS)
    assert [pool.open(pool.full_at) for _ in range(5)] == [1_000] * 4 + [0], "and a longer rest saves up no more"


def test_bytes_that_are_reserved_do_not_come_back_by_time() -> None:
    pool = GracePool(GRACE)
    for _ in range(4):
        pool.open(0.0)
    assert pool.open(1_000.0) == 0


def test_a_device_that_moved_more_than_it_was_granted_is_charged_all_of_it() -> None:
    """Two directions that wait for bytes at once may both find the same bytes left."""
    pool = GracePool(GRACE)
    pool.close(pool.open(0.0), -1_000, 0.0)
    assert pool.full_at == pytest.approx(REFILL_SECONDS / 2)
    pool.close(pool.open(0.0), -9_000, 0.0)
    assert pool.open(0.0) == 0, "and never less than nothing"


def test_a_pool_without_bytes_has_places() -> None:
    pool = GracePool(Grace(bytes=0))
    assert pool.open(0.0) == 0
    pool.close(0, 0, 1.0)
    assert (pool.devices, pool.full_at) == (0, 0.0)


@pytest.mark.parametrize(
    "arguments",
    [{"seconds": 0}, {"seconds": "5"}, {"sessions": 0}, {"bytes": -1}, {"bytes": 1.5}, {"devices": 0}],
    ids=str,
)
def test_a_grace_that_cannot_be_is_refused(arguments: dict[str, float]) -> None:
    (name,) = arguments
    with pytest.raises(ConfigurationError, match=rf"^Grace\({name}="):
        Grace(**arguments)  # type: ignore[arg-type]
