from trioedge.process.workers.slots import CONTROL, ROW_BYTES, ProcessState, Slots


def make_slots(rows: int = 3) -> tuple[Slots, memoryview]:
    memory = memoryview(bytearray(rows * ROW_BYTES))
    return Slots(memory), memory


def test_a_table_of_zeros_has_no_row() -> None:
    slots, _ = make_slots()
    assert slots.rows() == []
    assert slots.count == 3


def test_a_row_that_is_taken_says_what_its_process_has_written() -> None:
    slots, memory = make_slots()
    assert slots.take(CONTROL, 4, 10.5) == 0
    assert slots.take(1, 4, 11.0) == 1
    slots.set_pid(1, 77)
    slots.set_state(1, ProcessState.READY)
    slots.beat(1, 12.25, 30)
    control, worker = Slots(memory).rows()  # another process looks at the same memory
    assert (control.number, control.state, control.beat) == (CONTROL, ProcessState.STARTING, 10.5)
    assert (worker.column, worker.pid, worker.number, worker.generation) == (1, 77, 1, 4)
    assert (worker.state, worker.beat, worker.live) == (ProcessState.READY, 12.25, 30)


def test_deaths_are_counted_whoever_has_the_row_later_and_by_another_process() -> None:
    slots, memory = make_slots()
    for number in (0, 1, 0):
        column = slots.take(number, 0, 1.0)
        assert column is not None
        slots.free(column)
        slots.note_death(column)
    slots.take(CONTROL, 0, 2.0)
    assert (slots.deaths, Slots(memory).deaths) == (3, 3)


def test_a_full_table_gives_no_row_and_a_freed_one_is_given_anew() -> None:
    slots, _ = make_slots()
    assert [slots.take(number, 0, 1.0) for number in range(4)] == [0, 1, 2, None]
    slots.beat(1, 5.0, 9)
    slots.free(1)
    assert slots.take(7, 1, 6.0) == 1
    row = slots.row(1)
    assert (row.number, row.pid, row.live, row.beat) == (7, 0, 0, 6.0)
