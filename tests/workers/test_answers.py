"""The answers of several workers."""

from trioedge.workers.answers import WorkerAnswers


def test_answers_are_in_the_order_of_the_workers() -> None:
    answers = WorkerAnswers([(2, "c"), (0, "a"), (2, "d")], {3, 1})
    assert answers == ["a", "c", "d"]
    assert answers.missing == (1, 3)
