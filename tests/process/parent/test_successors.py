from trioedge.process.parent.successors import MAX_PAUSE_SECONDS, Successors


def test_all_numbers_are_due_at_the_start_the_control_process_first() -> None:
    successors = Successors(range(-1, 2))
    assert successors.due(0.0) == [-1, 0, 1]
    for number in (-1, 0, 1):
        successors.forked(number)
    assert successors.due(1e9) == []


def test_a_child_that_has_lived_for_a_second_is_due_at_once() -> None:
    successors = Successors(range(1))
    successors.forked(0)
    assert successors.died(0, lived=1.0, now=5.0) == 0.0
    assert successors.due(5.0) == [0]


def test_young_deaths_in_a_row_have_pauses_that_double_up_to_ten_seconds() -> None:
    successors = Successors(range(1))
    now, pauses = 0.0, []
    for _ in range(10):
        successors.forked(0)
        pauses.append(successors.died(0, lived=0.1, now=now))
        assert successors.due(now + pauses[-1] - 0.01) == []
        now += pauses[-1]
        assert successors.due(now) == [0]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == MAX_PAUSE_SECONDS


def test_a_child_that_lives_on_resets_the_pauses() -> None:
    successors = Successors(range(1))
    for lived, pause in ((0.0, 0.1), (0.0, 0.2), (30.0, 0.0), (0.0, 0.1)):
        successors.forked(0)
        assert successors.died(0, lived=lived, now=0.0) == pause


def test_a_fork_that_failed_is_tried_again_after_the_longest_pause() -> None:
    successors = Successors(range(1))
    successors.put_off(0, 3.0)
    assert successors.due(3.0 + MAX_PAUSE_SECONDS - 0.1) == []
    assert successors.due(3.0 + MAX_PAUSE_SECONDS) == [0]
