import pytest

from trioedge.telemetry.rate_limit import MAX_KEYS, LogRateLimit


def test_a_key_has_one_line_a_second_that_says_how_many_were_left_out() -> None:
    limit = LogRateLimit()
    times = [0.0, 0.5, 0.999, 1.0, 1.5, 2.0, 9.0]
    assert [limit.left_out("a", now) for now in times] == [0, None, None, 2, None, 1, 0]


def test_keys_leave_each_other_alone() -> None:
    limit = LogRateLimit()
    assert [limit.left_out(key, 0.0) for key in ("a", "a", "b", ("a", "b"), "a")] == [0, None, 0, 0, None]


def test_beyond_the_bound_new_keys_are_one_key_while_the_others_are_in_use() -> None:
    limit = LogRateLimit(capacity=2)
    assert [limit.left_out(key, 0.0) for key in "abcdc"] == [0, 0, 0, None, None]
    assert limit.left_out("a", 0.5) is None
    assert limit.left_out("e", 0.5) is None
    assert limit.left_out("e", 1.0) == 0  # the place of a, which was silent for longest
    assert limit.left_out("f", 1.0) == 0  # the place of b
    assert limit.left_out("g", 1.0) == 3  # the line of all others
    assert limit.left_out("e", 1.5) is None


def test_a_key_in_use_keeps_its_place() -> None:
    limit = LogRateLimit(capacity=2)
    for key, now in (("a", 0.0), ("b", 0.1), ("a", 1.0), ("c", 1.2)):
        assert limit.left_out(key, now) == 0
    assert limit.left_out("a", 1.3) is None  # c has the place of b


@pytest.mark.parametrize("keys", [MAX_KEYS, 5 * MAX_KEYS])
def test_a_storm_of_keys_has_a_bounded_number_of_lines(keys: int) -> None:
    limit = LogRateLimit()
    lines = [limit.left_out(number, 0.0) for _ in range(2) for number in range(keys)]
    assert sum(line is not None for line in lines) == min(keys, MAX_KEYS) + (keys > MAX_KEYS)
