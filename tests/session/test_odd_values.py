"""Every writable field of a session gets every odd value, from every place, over real sockets.

It takes some seconds, because each of the two thousand writes is a session of its own.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf, nan
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.wires import connect, server
from trioedge.services.services import Services
from trioedge.session.allowance import Allowance
from trioedge.session.meter import Total
from trioedge.session.session import Session

ODD, GOOD = "127.0.0.66", "127.0.0.1"


class Text(str):
    """Text that is as good as none: it has no hash, and it raises when it is compared."""

    __slots__ = ()

    def __hash__(self) -> int:
        raise LookupError("no hash")

    def __eq__(self, other: object) -> bool:
        raise LookupError("no comparison")


class Number(float):
    __slots__ = ()

    def __gt__(self, other: object) -> bool:
        return True


class Raises:
    """An object that has everything, and raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> None:
            raise LookupError(name)

        return fail

    def __repr__(self) -> str:
        raise LookupError("no text")


class Cuts:
    """An object that can do what the setters look for, and nothing else."""

    def cut(self, *_: object) -> None:
        raise LookupError("cut")

    cancel = move = left = moved = cut


def other_edges_service() -> object:
    return Services(Total(), Total(), governed=False).find("shop")


VALUES: list[Callable[[], Any]] = [
    lambda: None, lambda: 0, lambda: -1, lambda: 5, lambda: 10**400, lambda: True, lambda: 0.5, lambda: nan,
    lambda: inf, lambda: -inf, lambda: "", lambda: "shop", lambda: "\udcff", lambda: "x" * 100_000, lambda: "127.0.0.9",
    lambda: b"shop", lambda: ["shop"], dict, lambda: {"service": ["abc"]}, object, Raises, Cuts, lambda: Text("shop"),
    lambda: Number(nan), other_edges_service, lambda: te.Service, lambda: (lambda *_: None), lambda: te.Reason.FAULT,
    lambda: Allowance(5), lambda: Allowance("5"),  # type: ignore[arg-type]
]  # fmt: skip

FIELDS = [
    *sorted(name for name, each in inspect.getmembers(Session) if isinstance(each, property)), "quiet", "misspelt",
]  # fmt: skip
CALLS = ("set_source", "defer", "pace", "cut", "follow")


def writes() -> Iterator[Callable[[Session], object]]:
    for value in VALUES:
        for field in FIELDS:
            yield lambda session, field=field, value=value: setattr(session, field, value())  # type: ignore[misc]
        for method in CALLS:
            yield lambda session, method=method, value=value: getattr(session, method)(value())  # type: ignore[misc]


class Echo:
    """An endpoint that sends everything back itself."""

    def __init__(self, act: Callable[[Session], None]) -> None:
        self._act = act

    async def handle(self, session: te.Session) -> te.Outcome:
        self._act(session)
        while data := await session.stream.receive_some():
            await session.stream.send_all(data)
        return te.Completed()


async def echoes(client: trio.SocketStream) -> bool:
    await client.send_all(b"ping")
    return await client.receive_some(4) == b"ping"


@pytest.mark.parametrize("where", ["decision", "decision before a relay", "middleware", "endpoint", "clean-up"])
async def test_an_odd_value_costs_at_most_its_own_session(where: str) -> None:
    acts, tried = iter(writes()), list[int]()
    count = sum(1 for _ in writes())

    def act(session: Session) -> None:
        if session.peer == ODD and (next_act := next(acts, None)) is not None:
            tried.append(session.id)
            next_act(session)

    @te.decision
    def decide(session: te.Session) -> te.Verdict:
        if where.startswith("decision"):
            act(session)
        elif where == "clean-up":
            session.defer(act)
        return te.CONTINUE

    @te.middleware
    async def wrap(session: te.Session, call_next: te.Handler) -> te.Outcome:
        if where == "middleware":
            act(session)
        return await call_next(session)

    async with server() as port, trio.open_nursery() as nursery:
        endpoint: Any = Echo(act) if where == "endpoint" else te.Forward(f"tcp://127.0.0.1:{port}")
        stages = [decide] if where.endswith("relay") else [decide, wrap]
        edge = te.Edge("tcp://127.0.0.1:0", stages, endpoint)
        await nursery.start(edge.serve)
        edge_port = int(edge.addresses[0].rpartition(":")[2])
        async with await connect(edge_port, GOOD) as good:
            for number in range(count):
                with suppress(trio.BrokenResourceError):
                    async with await connect(edge_port, ODD) as odd:
                        await odd.send_all(b"x")
                        await odd.send_eof()
                        with trio.move_on_after(5) as waiting:
                            await odd.receive_some()
                        assert not waiting.cancelled_caught, f"write {number} leaves its client waiting"
                if number % 100 == 0:
                    assert await echoes(good)
            with trio.fail_after(10):
                while len(tried) < count:  # the last clean-up runs when its client has seen the end
                    await trio.sleep(0.01)
            async with await connect(edge_port, GOOD) as another:
                assert await echoes(another)
            assert await echoes(good)
        with trio.fail_after(10):
            while edge.sessions:
                await trio.sleep(0.01)
        counts = edge.statistics()
        assert counts.accepted == sum(counts.refused.values()) + sum(counts.ended.values())
        assert all(service.live == 0 for service in edge.services.values())
        assert not edge.evict(source="127.0.0.0/8")
        nursery.cancel_scope.cancel()
