from collections.abc import Iterator

import pytest

import trioedge as te
from tests.support.parents import FakeChildren, fake_children
from trioedge.process.parent.accepting import GATHER_SECONDS, Accepting


class FakeListening:
    """Notes to which workers an edge's clients are steered."""

    def __init__(self) -> None:
        self.steered: dict[str, frozenset[int]] = {}
        self.error: Exception | None = None

    def listens(self, edge: str) -> bool:
        return edge in self.steered

    def serve(self, edge: str, workers: frozenset[int]) -> None:
        if self.error is not None:
            raise self.error
        if workers:
            self.steered[edge] = workers

    def close_edge(self, edge: str) -> None:
        self.steered.pop(edge, None)


@pytest.fixture
def children() -> Iterator[FakeChildren]:
    with fake_children() as found:
        yield found


@pytest.fixture
def listening() -> FakeListening:
    return FakeListening()


@pytest.fixture
def accepting(children: FakeChildren, listening: FakeListening) -> Accepting:
    return Accepting(["a", "b"], 2, children, listening)  # type: ignore[arg-type]


LISTEN = {"do": "listen", "edge": "a"}


def test_an_edge_listens_once_all_its_workers_are_ready(
    children: FakeChildren, listening: FakeListening, accepting: Accepting
) -> None:
    first, second = children.workers()
    accepting.steer(0.0)
    accepting.ready(first, "a", 0.0)
    accepting.steer(1.0)
    assert listening.steered == {}
    accepting.ready(second, "a", 1.0)
    accepting.steer(1.0)
    assert listening.steered == {"a": {0, 1}}
    assert [children.told(first), children.told(second)] == [[LISTEN], [LISTEN]]


def test_a_worker_that_is_never_ready_delays_the_others_for_two_seconds(
    children: FakeChildren, listening: FakeListening, accepting: Accepting
) -> None:
    first, second = children.workers()
    accepting.ready(first, "a", 5.0)
    accepting.steer(5.0 + GATHER_SECONDS - 0.1)
    assert listening.steered == {}
    accepting.steer(5.0 + GATHER_SECONDS)
    assert listening.steered == {"a": {0}}
    assert children.told(second) == []
    accepting.ready(second, "a", 60.0)  # after all
    accepting.steer(60.0)
    assert listening.steered == {"a": {0, 1}}
    assert children.told(second) == [LISTEN]


@pytest.mark.parametrize("why", ["silent", "told", "dead"])
def test_clients_go_to_the_workers_that_accept(
    children: FakeChildren, listening: FakeListening, accepting: Accepting, why: str
) -> None:
    first, second = children.workers()
    for each in (first, second):
        accepting.ready(each, "a", 0.0)
    accepting.steer(0.0)
    if why == "silent":
        second.silent = True
    elif why == "told":
        second.told = "drain"
    else:
        children.died(second.pid)
    accepting.steer(1.0)
    assert listening.steered == {"a": {0}}
    first.silent = True
    accepting.steer(2.0)
    assert listening.steered == {"a": {0}}, "no worker accepts, so clients wait where they are"


def test_one_of_two_edges_may_fail_in_every_worker(
    children: FakeChildren, listening: FakeListening, accepting: Accepting
) -> None:
    for each in children.workers():
        accepting.ready(each, "b", 0.0)
    accepting.steer(0.0)
    accepting.steer(100.0)
    assert listening.steered == {"b": {0, 1}}


def test_an_edge_that_an_operator_ends_is_not_opened_again(
    children: FakeChildren, listening: FakeListening, accepting: Accepting
) -> None:
    for each in children.workers():
        accepting.ready(each, "a", 0.0)
    accepting.steer(0.0)
    accepting.end("a")
    accepting.end("a")
    accepting.steer(1.0)
    assert listening.steered == {}
    assert accepting.edges == {"b"}


def test_workers_of_an_old_version_with_more_workers_get_no_client_of_a_number_that_is_gone(
    children: FakeChildren, listening: FakeListening, accepting: Accepting
) -> None:
    third = children.add(2, -1)
    for each in children.workers():
        accepting.ready(each, "a", 0.0)
    accepting.steer(0.0)
    assert listening.steered == {"a": {0, 1}}
    assert children.told(third) == [LISTEN]


def test_an_address_that_another_process_took_is_an_error(
    children: FakeChildren, listening: FakeListening, accepting: Accepting
) -> None:
    for each in children.workers():
        accepting.ready(each, "a", 0.0)
    listening.error = te.ListenError("in use")
    with pytest.raises(te.ListenError):
        accepting.steer(0.0)
