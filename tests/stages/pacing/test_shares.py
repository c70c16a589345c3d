import random
from collections.abc import Generator, Sequence
from itertools import accumulate
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.stages.pacing.shares import DEBT_SECONDS, DEMANDS_PER_STEP, GRAIN, Debt, Division, Flow, divide

TICK = 0.1

rates = st.floats(1, 1e9)
demands = st.lists(st.just(0.0) | st.just(inf) | st.floats(1, 1e9), min_size=1, max_size=12)


def done(steps: Generator[None, None, Division]) -> Division:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            division: Division = end.value
            return division


def fair_parts(rate: float, demands: Sequence[float]) -> list[float]:
    """The fair part of each flow."""
    division = done(divide(rate, demands, len(demands) or 1))
    return [division.fair(demand) for demand in demands]


def shares_of(rate: float, demands: Sequence[float]) -> list[float]:
    """The share of each flow."""
    division = done(divide(rate, demands, len(demands) or 1))
    return [division.share(demand) for demand in demands]


def filled(rate: float, demands: Sequence[float]) -> list[float]:
    """Progressive filling, as the book has it: all parts rise together, and each stops at its demand."""
    shares = [0.0] * len(demands)
    rising = set(range(len(demands)))
    left = rate
    while rising and left > rate * 1e-12:
        step = min(left / len(rising), min(demands[each] - shares[each] for each in rising))
        for each in rising:
            shares[each] += step
        left -= step * len(rising)
        rising -= {each for each in rising if shares[each] >= demands[each] * (1 - 1e-12)}
    return [share + left / len(demands) for share in shares]


@examples(120)
@given(rates, demands)
def test_fair_parts_are_max_min_fair_and_add_up_to_the_rate(rate: float, demands: list[float]) -> None:
    shares = fair_parts(rate, demands)
    assert shares == pytest.approx(filled(rate, demands), rel=1e-6, abs=rate * 1e-9)
    assert sum(shares) == pytest.approx(rate)
    for share, demand in zip(shares, demands, strict=True):
        assert share >= min(demand, rate / len(demands)) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("demands", "shares"),
    [
        ([], []),
        ([0], [12]),
        ([inf], [12]),
        ([inf, inf, inf], [4, 4, 4]),
        ([inf, 1, inf], [5.5, 1, 5.5]),
        ([2, 3, 30], [2, 3, 7]),
        ([5, 6, 6], [4, 4, 4]),
        ([0, 0, 3], [3, 3, 6]),
        ([4, 4, 4], [4, 4, 4]),
    ],
)
def test_fair_parts_of_a_rate_of_12(demands: list[float], shares: list[float]) -> None:
    assert fair_parts(12, demands) == pytest.approx(shares)


@examples(120)
@given(rates, demands)
def test_no_share_is_below_an_equal_one_and_together_they_exceed_the_rate_less_than_twofold(
    rate: float, demands: list[float]
) -> None:
    shares, number = shares_of(rate, demands), len(demands)
    assert all(share >= max(rate / number, fair) for share, fair in zip(shares, fair_parts(rate, demands), strict=True))
    assert rate * (1 - 1e-9) <= sum(shares) <= rate * (2 - 1 / number) * (1 + 1e-9)
    used = sum(min(share, demand) for share, demand in zip(shares, demands, strict=True))
    if all(demand in (0, inf) for demand in demands):
        assert used == pytest.approx(rate if inf in demands else 0)


@examples(60)
@given(rates, demands, st.integers(0, 5), st.randoms(use_true_random=False))
def test_flows_without_demand_need_not_be_named_and_the_order_does_not_matter(
    rate: float, demands: list[float], idle: int, chance: random.Random
) -> None:
    """So a tick costs what the flows whose bytes move cost."""
    shuffled = [*demands, *[0.0] * idle]
    chance.shuffle(shuffled)
    number = len(shuffled)
    named, all_of_them = done(divide(rate, demands, number)), done(divide(rate, shuffled, number))
    for demand in shuffled:
        assert named.share(demand) == pytest.approx(all_of_them.share(demand))


def test_a_rate_is_divided_among_ten_thousand_flows_in_short_steps() -> None:
    demands = [float(1 + 7919 * number % 10_007) for number in range(10_000)]
    steps = divide(sum(demands) / 2, demands, len(demands))
    division = done(steps)
    assert sum(map(division.fair, demands)) == pytest.approx(sum(demands) / 2)
    assert sum(1 for _ in divide(sum(demands) / 2, demands, len(demands))) > len(demands) / DEMANDS_PER_STEP


def test_a_step_sorts_or_merges_64_demands() -> None:
    demands = [1.0] * (10 * DEMANDS_PER_STEP)
    assert sum(1 for _ in divide(sum(demands), demands, len(demands))) == 10
    assert sum(1 for _ in divide(2 * sum(demands), demands, len(demands))) == 20


def test_demands_that_use_up_the_rate_leave_their_level_to_a_flow_that_wants_more_meanwhile() -> None:
    division = done(divide(12, [2, 5, 5], 3))
    assert division.share(inf) == 5


def test_the_only_flow_has_the_whole_rate_whatever_its_demand() -> None:
    assert [shares_of(12, [demand]) for demand in (0, 1, inf)] == [[12]] * 3


def test_without_a_limit_every_share_is_infinite() -> None:
    assert shares_of(inf, [0, 1, inf]) == [inf] * 3
    assert Debt().settle(1e9, inf, TICK) == inf


def test_a_service_that_is_ahead_by_at_most_the_grain_has_no_debt() -> None:
    debt = Debt()
    debt.settle(GRAIN + 1, 2.0, 0.5)
    assert not debt
    debt.settle(2, 2.0, 0.5)
    assert debt


def test_idle_flows_keep_an_equal_share_and_the_others_divide_the_whole_rate() -> None:
    assert shares_of(12, [0, inf, 0, inf]) == [3, 6, 3, 6]


def observed(flow: Flow, *deliveries: int) -> list[float]:
    """The demand of a flow after each tick of a second, with the same share."""
    totals = accumulate(deliveries)
    return [flow.observe(total, 0, 1.0) for total in totals]


def test_a_flow_that_uses_three_quarters_of_its_share_has_an_infinite_demand() -> None:
    assert observed(Flow(1000), 750) == [inf]
    assert observed(Flow(1000), 749) == [749 * 1.5]


def test_a_flow_of_a_byte_a_second_has_a_demand_and_a_slower_one_has_none() -> None:
    assert observed(Flow(1000), 1) == [1.5]
    assert Flow(1000).observe(1, 0, 1.01) == 0


def test_a_flow_that_was_not_observed_yet_has_delivered_nothing() -> None:
    flow = Flow(1000, moved=500)
    assert (flow.delivered, flow.demand) == (0, 0)


def test_a_demand_fades_in_a_pause_tick_by_tick() -> None:
    assert observed(Flow(10_000), 1000, 0, 0, 500) == pytest.approx([1500, 1200, 960, 768])


def test_a_flow_that_stays_silent_becomes_idle() -> None:
    flow = Flow(10_000)
    wants = observed(flow, 1000, *[0] * 40)
    assert wants.index(0) == 31
    assert wants[31:] == [0] * 10
    assert flow.demand == 0


def test_bytes_in_the_queue_of_the_kernel_are_not_delivered() -> None:
    flow = Flow(10_000, moved=4000)
    for moved, queued, seconds, delivered, demand in [
        (5000, 1000, 0.5, 0, 0),
        (9000, 4500, 0.5, 500, 1500),
        (9000, 0, 0.5, 4500, inf),
        (9000, 1, 0.5, 0, 7200 * 1.5),  # the end of the stream counts as a byte in the queue
        (9000, 0, 0.5, 0, 5760 * 1.5),
    ]:
        assert flow.observe(moved, queued, seconds) == pytest.approx(demand)
        assert flow.delivered == delivered


def test_a_flow_that_ends_in_order_has_delivered_all_its_bytes() -> None:
    flow = Flow(10_000)
    flow.observe(5000, 1000, 0.1)
    assert flow.end(9000) == 5000
    assert flow.end(3000) == 0


def test_a_flow_that_is_reset_has_delivered_at_most_what_its_share_carries() -> None:
    """Because the kernel drops the bytes that it has not sent, and does not say how many."""
    flow = Flow(1e6)
    assert flow.end(10_000_000, 0.1) == GRAIN + 1e5
    assert flow.end(5000, 0.1) == 5000


class Service:
    """A service on a kernel that sends `excess` times the share of each flow, if the flow has that many bytes."""

    def __init__(self, rate: float, flows: int, excess: float) -> None:
        self.rate, self.excess = rate, excess
        self.flows = [Flow(rate / flows) for _ in range(flows)]
        self.moved = [0] * flows
        self.debt = Debt()
        self.delivered: list[int] = []

    def tick(self, wants: Sequence[float]) -> list[int]:
        for number, (flow, want) in enumerate(zip(self.flows, wants, strict=True)):
            self.moved[number] += int(min(want, flow.share * self.excess) * TICK)
        demands = [flow.observe(moved, 0, TICK) for flow, moved in zip(self.flows, self.moved, strict=True)]
        delivered = [flow.delivered for flow in self.flows]
        self.delivered.append(sum(delivered))
        rate = self.debt.settle(sum(delivered), self.rate, TICK)
        for flow, share in zip(self.flows, shares_of(rate, demands), strict=True):
            flow.share = share
        return delivered


@pytest.mark.parametrize("flows", [1, 3, 20])
@pytest.mark.parametrize("rate", [1e6, 1e7, 1e8])
def test_a_kernel_that_exceeds_shares_by_16_percent_exceeds_the_rate_by_less_than_2_over_ten_seconds(
    rate: float, flows: int
) -> None:
    service = Service(rate, flows, excess=1.16)
    for _ in range(100):
        service.tick([inf] * flows)
    assert rate * 10 * 0.999 < sum(service.delivered) < rate * 10 * 1.02
    assert sum(service.delivered[50:]) == pytest.approx(rate * 5, rel=0.002), "and not at all in the long run"


def test_a_kernel_that_sends_too_little_is_not_asked_for_more() -> None:
    service = Service(1e6, 2, excess=0.9)
    for _ in range(50):
        service.tick([inf, inf])
    assert [flow.share for flow in service.flows] == [5e5, 5e5]


def test_trains_of_packets_make_no_debt() -> None:
    debt = Debt()
    for _ in range(10):
        assert debt.settle(GRAIN, 81_920.0, 0.1) == 81_920
        assert debt.settle(0, 81_920.0, 0.1) == 81_920


def test_unused_rate_is_not_saved_up() -> None:
    debt = Debt()
    for _ in range(100):
        debt.settle(0, 1e6, TICK)
    assert debt.settle(GRAIN + 1e6 * TICK + 1000, 1e6, TICK) == pytest.approx(1e6 - 1000)


def test_a_long_tick_carries_as_many_bytes_as_several_short_ones() -> None:
    debt = Debt()
    assert debt.settle(3e6 + GRAIN, 1e6, 3.0) == 1e6
    assert debt.settle(2e6 + 1000, 1e6, 2.0) == pytest.approx(1e6 - 1000)


def test_a_debt_is_bounded_and_repaid() -> None:
    debt = Debt()
    assert debt.settle(1e9, 1e6, TICK) == 5e5
    rates = [debt.settle(0, 1e6, TICK) for _ in range(6)]
    assert rates == pytest.approx([6e5, 7e5, 8e5, 9e5, 1e6, 1e6])


def test_after_a_rate_is_lowered_the_debt_is_at_most_half_a_second_of_the_new_rate() -> None:
    debt = Debt()
    debt.settle(2e6, 1e6, TICK)
    assert debt.settle(1e4, 1e5, TICK) == 5e4


wants_per_second = st.sampled_from([0.0, 0.1, 0.3, 0.5, 2.0])


@examples(60)
@given(
    st.sampled_from([2e4, 1e6, 1e8]),
    st.floats(0.5, 1.16),
    st.lists(st.tuples(*[wants_per_second] * 4, st.integers(1, 12)), min_size=1, max_size=25),
)
def test_whichever_flows_wake_up_no_stretch_of_time_exceeds_the_rate_by_more_than_the_maximum_debt(
    rate: float, excess: float, phases: list[tuple[float, ...]]
) -> None:
    """Four flows, each with another demand every few ticks."""
    service = Service(rate, 4, excess)
    for *wants, ticks in phases:
        for _ in range(int(ticks)):
            service.tick([want * rate for want in wants])
    ahead = furthest = 0.0
    for delivered in service.delivered:  # the stretch with the largest excess, by Kadane's algorithm
        ahead = max(ahead + delivered - rate * TICK, 0.0)
        furthest = max(furthest, ahead)
    assert furthest <= rate * DEBT_SECONDS + GRAIN


@pytest.mark.parametrize("flows", [2, 5, 50])
def test_a_flow_that_wakes_up_has_an_equal_share_at_once_and_the_whole_rate_a_tick_later(flows: int) -> None:
    service = Service(1e6, flows, 1.0)
    service.tick([0.0] * flows)
    others = [0.0] * (flows - 1)
    assert service.tick([inf, *others])[0] == int(1e6 / flows * TICK)
    assert service.tick([inf, *others])[0] == int(1e6 * TICK)


@pytest.mark.parametrize("part", [number / 20 for number in range(20)])
def test_the_rate_that_a_light_flow_does_not_use_goes_to_the_other_and_shares_do_not_swing(part: float) -> None:
    service = Service(1e6, 2, 1.0)
    for _ in range(60):
        service.tick([part * 1e6, inf])
    settled = [flow.share for flow in service.flows]
    for _ in range(20):
        service.tick([part * 1e6, inf])
        assert [flow.share for flow in service.flows] == pytest.approx(settled, rel=0.01)
    assert sum(service.delivered[-10:]) > 0.83 * 1e6
    assert service.flows[1].delivered >= min(0.5, 1 - 1.5 * part) * 1e6 * TICK * 0.99


def test_a_flow_that_pauses_between_its_requests_has_an_equal_share_when_it_sends() -> None:
    """Such as a download with a pause between two requests."""
    service = Service(1e6, 2, 1.0)
    for number in range(100):
        first, _ = service.tick([inf if number % 3 else 0.0, inf])
        if number % 3:
            assert first >= 0.48e6 * TICK, "an equal share, but for the debt of the first time that it woke up"
    assert sum(service.delivered) > 0.8e6 * 10
