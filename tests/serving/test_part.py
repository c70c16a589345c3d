from itertools import islice

from trioedge.serving.part import Part


def test_ids_of_processes_with_different_columns_are_never_the_same() -> None:
    parts = [Part(number=0, count=2, column=column, columns=8) for column in range(8)]
    ids = [number for part in parts for number in islice(part.ids(), 100)]
    assert len({*ids}) == 800
    assert min(ids) == 8


def test_an_id_tells_the_column_of_the_process_that_gave_it() -> None:
    part = Part(number=1, count=2, column=5, columns=8)
    assert {number % 8 for number in islice(part.ids(), 10)} == {5}
