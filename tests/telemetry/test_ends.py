from hypothesis import given
from hypothesis import strategies as st

from tests.support.carriers import CountedCarrier
from trioedge.addresses.address import parse_address
from trioedge.session.verdict import Completed, Reason, Reject
from trioedge.telemetry.ends import CAPACITY, EndReader, Ends
from trioedge.testing import make_session

UPSTREAM = parse_address("tcp://192.0.2.9:80")


def ignore() -> None: ...


def add(ends: Ends, count: int = 1) -> None:
    session = make_session()
    for _ in range(count):
        ends.add(session, Completed())


def take(reader: EndReader, limit: int = 10 * CAPACITY) -> int:
    return len(reader.take(limit))


def test_a_record_has_what_the_session_was_when_it_ended() -> None:
    session = make_session("192.0.2.7", service="shop", now=5.0)
    session.set_source("198.51.100.1")
    session.device, session.destination = "phone", "tcp://192.0.2.8:80"
    session.lead_to(UPSTREAM)
    session.carrier = carrier = CountedCarrier()
    carrier.began_at, carrier.bytes_up, carrier.bytes_down = 5.25, 3, 4
    session.begin_trace().append(7)
    ends = Ends()
    reader = ends.open(ignore)
    ends.add(session, outcome := Completed(Reason.IDLE, "silent"))
    session.device = "another"
    (end,) = reader.take(1)
    assert (end.id, end.outcome, end.listener, end.peer, end.source) == (
        session.id, outcome, session.listener, "192.0.2.7", "198.51.100.1",
    )  # fmt: skip
    assert (end.service, end.device, end.destination, end.upstream) == ("shop", "phone", "tcp://192.0.2.8:80", UPSTREAM)
    assert (end.connected, end.bytes_up, end.bytes_down, end.seconds, end.ended_at) == (0.25, 3, 4, 0.0, 5.0)
    assert (end.trace, end.refused) == ([7], False)


def test_a_refusal_has_no_upstream() -> None:
    ends = Ends()
    reader = ends.open(ignore)
    ends.add(make_session(), Reject(Reason.RATE))
    (end,) = reader.take(1)
    assert (end.refused, end.upstream, end.connected, end.trace) == (True, None, None, None)


def test_there_is_nothing_to_do_without_a_reader() -> None:
    ends = Ends()
    assert not ends.read
    first, second = ends.open(ignore), ends.open(ignore)
    assert ends.read
    first.close()
    first.close()
    assert ends.read
    second.close()
    assert not ends.read


def test_a_new_reader_gets_no_record_of_before() -> None:
    ends = Ends()
    old = ends.open(ignore)
    add(ends, 3)
    new = ends.open(ignore)
    add(ends)
    assert (take(old), take(new)) == (4, 1)
    old.close()
    new.close()
    assert take(ends.open(ignore)) == 0


def test_a_slow_reader_loses_the_oldest_and_knows_how_many_and_a_quick_one_loses_none() -> None:
    ends = Ends()
    slow, quick = ends.open(ignore), ends.open(ignore)
    session = make_session()
    for number in range(CAPACITY + 7):
        ends.add(session, Completed(Reason.FINISHED, str(number)))
        assert [end.outcome.detail for end in quick.take(5)] == [str(number)]
    taken = [end.outcome.detail for end in slow.take(3)]
    assert taken == ["7", "8", "9"]
    assert (slow.lost, quick.lost) == (7, 0)
    assert take(slow) == CAPACITY - 3


def test_a_reader_is_woken_once_by_the_first_record_after_it_has_taken_all() -> None:
    ends = Ends()
    woken: list[str] = []
    first, second = ends.open(lambda: woken.append("first")), ends.open(lambda: woken.append("second"))
    add(ends)
    assert woken == []  # they have not looked yet
    take(first)
    add(ends, 3)
    assert woken == ["first"]
    take(first, limit=2)
    add(ends)
    assert woken == ["first"]  # it has left some
    take(first)
    take(second)
    add(ends)
    assert sorted(woken) == ["first", "first", "second"]
    take(first)
    first.close()
    add(ends)
    assert sorted(woken) == ["first", "first", "second"]


@given(st.lists(st.one_of(st.integers(1, 400), st.tuples(st.integers(0, 1), st.integers(1, 900))), max_size=30))
def test_every_record_is_taken_in_order_or_counted_as_lost(steps: list[int | tuple[int, int]]) -> None:
    ends = Ends()
    readers = [ends.open(ignore), ends.open(ignore)]
    got: list[list[int]] = [[], []]
    session, number = make_session(), 0
    for step in [*steps, (0, 10**6), (1, 10**6)]:
        if isinstance(step, int):
            for _ in range(step):
                ends.add(session, Completed(Reason.FINISHED, str(number)))
                number += 1
        else:
            got[step[0]] += [int(end.outcome.detail) for end in readers[step[0]].take(step[1])]
    for reader, numbers in zip(readers, got, strict=True):
        assert numbers == sorted(set(numbers))
        assert len(numbers) + reader.lost == number
        assert not numbers or numbers[-1] == number - 1
