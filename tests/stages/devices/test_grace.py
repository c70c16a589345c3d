import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.errors import ConfigurationError
from trioedge.stages.devices.grace import REFILL_SECONDS, Grace, GracePool

GRACE = Grace(bytes=1_000, devices=4)
POOL = 4_000

gaps = st.sampled_from([0.0, 0.1, 1.0, 5.0, 30.0, 100.0])
steps = st.lists(
    st.tuples(gaps, st.integers(0, 3), st.sampled_from(["reserve", "spend", "give back"]), st.integers(1, 1_000))
)


class Place:
    """A device in its grace."""

    def __init__(self, reserved: int) -> None:
        self.reserved = self.left = reserved


def excess_over_the_promise(spent: list[tuple[float, int]]) -> float:
    """By how much the bytes of some stretch of time exceed the promise; below 0 if they do not."""
    excess = -float(POOL)
    for first, (since, _) in enumerate(spent):
        total = 0
        for until, number in spent[first:]:
            total += number
            excess = max(excess, total - POOL * (1 + (until - since) / REFILL_SECONDS))
    return excess


@examples(80)
@given(steps)
def test_no_stretch_of_time_spends_more_than_the_pool_and_what_returned_to_it(
    steps: list[tuple[float, int, str, int]],
) -> None:
    """Devices spend at any time; the time at which bytes move counts, not the time at which they were reserved."""
    pool, now = GracePool(GRACE), 0.0
    places: dict[int, Place] = {}
    spent: list[tuple[float, int]] = []
    for gap, number, step, amount in steps:
        now += gap
        place = places.get(number)
        if step == "reserve" and place is None:
            places[number] = Place(pool.reserve(now))
            assert 0 <= places[number].left <= GRACE.bytes
        elif step == "spend" and place is not None:
            moved = min(amount, place.left)
            place.left -= moved
            spent.append((now, moved))
        elif step == "give back" and place is not None:
            pool.give_back(place.reserved, place.left, now)
            del places[number]
        assert pool.devices == len(places)
        assert sum(each.reserved for each in places.values()) <= POOL
    assert excess_over_the_promise(spent) <= 1, "one byte more by rounding"


@pytest.mark.parametrize("start", [0.0, 1e6])
def test_bytes_that_were_not_spent_return_at_once(start: float) -> None:
    pool = GracePool(GRACE)
    for _ in range(10):
        reserved = [pool.reserve(start) for _ in range(5)]
        assert reserved == [1_000] * 4 + [0]
        for each in reserved:
            pool.give_back(each, each, start)
    assert pool.full_at == 0.0


@pytest.mark.parametrize("start", [0.0, 1e6])
def test_spent_bytes_return_within_a_minute(start: float) -> None:
    pool = GracePool(GRACE)
    for reserved in [pool.reserve(start) for _ in range(4)]:
        pool.give_back(reserved, 0, start)
    assert pool.reserve(start) == 0
    pool.give_back(0, 0, start)
    reserved = pool.reserve(start + REFILL_SECONDS / 8)
    assert reserved in (499, 500), "an eighth of 4,000, less one lost to rounding"
    pool.give_back(reserved, reserved, start + REFILL_SECONDS / 8)
    assert pool.full_at == pytest.approx(start + REFILL_SECONDS)
    assert [pool.reserve(pool.full_at) for _ in range(5)] == [1_000] * 4 + [0], "and a longer rest adds no more"


def test_reserved_bytes_do_not_return_with_time() -> None:
    pool = GracePool(GRACE)
    for _ in range(4):
        pool.reserve(0.0)
    assert pool.reserve(1_000.0) == 0


def test_a_device_that_moved_more_than_its_reserve_is_charged_all_of_it() -> None:
    """Two directions may find the same bytes left at the same time."""
    pool = GracePool(GRACE)
    pool.give_back(pool.reserve(0.0), -1_000, 0.0)
    assert pool.full_at == pytest.approx(REFILL_SECONDS / 2)
    pool.give_back(pool.reserve(0.0), -9_000, 0.0)
    assert pool.reserve(0.0) == 0, "and never a negative number"


def test_a_pool_without_bytes_counts_devices() -> None:
    pool = GracePool(Grace(bytes=0))
    assert pool.reserve(0.0) == 0
    pool.give_back(0, 0, 1.0)
    assert (pool.devices, pool.full_at) == (0, 0.0)


@pytest.mark.parametrize(
    "arguments",
    [{"seconds": 0}, {"seconds": "5"}, {"sessions": 0}, {"bytes": -1}, {"bytes": 1.5}, {"devices": 0}],
    ids=str,
)
def test_a_grace_with_a_bad_argument_is_refused(arguments: dict[str, float]) -> None:
    (name,) = arguments
    with pytest.raises(ConfigurationError, match=rf"^Grace\({name}="):
        Grace(**arguments)  # type: ignore[arg-type]
