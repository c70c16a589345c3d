import socket

import pytest
import trio
import trio.testing

from tests.runtime.test_connector import Names
from trioedge.core.address import Address, parse_address
from trioedge.core.errors import UpstreamError
from trioedge.core.verdict import Reason
from trioedge.runtime.observe import Observer
from trioedge.runtime.reactor import Reactor
from trioedge.runtime.resolver import FAILED_SECONDS, FRESH_SECONDS, QUERY_SECONDS, Answer, Resolver


async def asked(resolver: Resolver, address: Address) -> Answer:
    """Ask, wait for the answer, and give it."""
    answers: list[Answer] = []
    told = trio.Event()

    def note(answer: Answer) -> None:
        answers.append(answer)
        told.set()

    resolver.ask(address, note)
    await told.wait()
    (answer,) = answers
    return answer


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("tcp://192.0.2.1:80", (socket.AF_INET, ("192.0.2.1", 80))),
        ("tcp://[2001:db8::1]:80", (socket.AF_INET6, ("2001:db8::1", 80))),
        ("unix:///run/x.sock", (socket.AF_UNIX, "/run/x.sock")),
    ],
)
async def test_what_is_an_address_already_is_answered_at_once_and_for_ever(address: str, known: object) -> None:
    answers: list[Answer] = []
    resolver = Resolver(Reactor(Observer()))  # no worker runs, so an answer that waited for one would never come
    for _ in range(2):
        resolver.ask(parse_address(address), answers.append)
    assert answers == [(known,), (known,)]


async def test_families_take_turns_the_first_choice_first(nursery: trio.Nursery) -> None:
    trio.socket.set_custom_hostname_resolver(Names(both=["2001:db8::1", "2001:db8::2", "192.0.2.1"]))
    resolver = Resolver(Reactor(Observer()))
    await nursery.start(resolver.run)
    answer = await asked(resolver, Address("tcp", "both.test", 80))
    assert not isinstance(answer, UpstreamError)
    assert [where[0] for _, where in answer] == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]  # type: ignore[index]
    nursery.cancel_scope.cancel()


async def test_many_who_ask_at_once_make_one_query(nursery: trio.Nursery) -> None:
    names = Names(redis=["192.0.2.1"])
    trio.socket.set_custom_hostname_resolver(names)
    resolver = Resolver(Reactor(Observer()))
    await nursery.start(resolver.run)
    answers: list[Answer] = []
    for _ in range(50):
        resolver.ask(Address("tcp", "redis.test", 80), answers.append)
    await trio.testing.wait_all_tasks_blocked()
    assert len(answers) == 50
    assert names.asked == ["redis.test"]
    nursery.cancel_scope.cancel()


async def test_a_failure_is_remembered_briefly_and_asked_again_behind_the_next(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    names = Names(redis=socket.gaierror(socket.EAI_AGAIN, "try again"))
    trio.socket.set_custom_hostname_resolver(names)
    reactor = Reactor(Observer())
    resolver = Resolver(reactor)
    await nursery.start(resolver.run)
    where = Address("tcp", "redis.test", 80)
    for _ in range(3):
        answer = await asked(resolver, where)
        assert isinstance(answer, UpstreamError)
        assert answer.reason is Reason.UPSTREAM_UNRESOLVED
    assert len(names.asked) == 1
    names.answers["redis"] = ["192.0.2.1"]
    await trio.sleep(FAILED_SECONDS)
    reactor.refresh()
    await asked(resolver, where)  # still the failure, which sets the query off
    await trio.testing.wait_all_tasks_blocked()
    assert not isinstance(await asked(resolver, where), UpstreamError)
    nursery.cancel_scope.cancel()


async def test_a_known_answer_outlives_a_failing_resolver(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    names = Names(redis=["192.0.2.1"])
    trio.socket.set_custom_hostname_resolver(names)
    reactor = Reactor(Observer())
    resolver = Resolver(reactor)
    await nursery.start(resolver.run)
    where = Address("tcp", "redis.test", 80)
    await asked(resolver, where)
    names.answers["redis"] = None
    for _ in range(3):
        await trio.sleep(FRESH_SECONDS + QUERY_SECONDS + 1)
        reactor.refresh()
        assert not isinstance(await asked(resolver, where), UpstreamError)
    await trio.testing.wait_all_tasks_blocked()
    assert len(names.asked) == 4
    nursery.cancel_scope.cancel()
