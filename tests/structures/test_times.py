import pytest

from trioedge.structures.times import BUCKETS, TOTAL, add_time, no_times


@pytest.mark.parametrize(("nanoseconds", "bucket"), [(0, 0), (1, 1), (2, 2), (3, 2), (1023, 10), (2**62, 63)])
def test_a_time_is_counted_in_the_bucket_of_its_power_of_two(nanoseconds: int, bucket: int) -> None:
    times = no_times()
    add_time(times, nanoseconds)
    assert [place for place, count in enumerate(times[:BUCKETS]) if count] == [bucket]


def test_all_times_are_added_up_behind_the_buckets() -> None:
    times = no_times()
    for each in (5, 7, 5):
        add_time(times, each)
    assert (sum(times[:BUCKETS]), times[TOTAL]) == (3, 17)
