"""One request of an application: messages in order, back-pressure, and a guard around the application."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.applications import Message, Receive, Send, answer, hello
from tests.support.cancels import cancel_at_every_step
from trioedge.endpoints.asgi.exchange import (
    INBOX_BYTES,
    MESSAGE_BYTES,
    PART_BYTES,
    ClientGoneError,
    Exchange,
    IncompleteResponseError,
)  # fmt: skip

HTTP: Message = {"type": "http", "http_version": "1.1"}
WEBSOCKET: Message = {"type": "websocket", "http_version": "1.1"}
LAST: Message = {"type": "http.request", "body": b"", "more_body": False}


class Owner:
    """A connection that notes what its exchange does.

    Attributes:
        said: messages for the protocol, None once the application is over.
        faults: with whether the session is cut.
        completions: how often it is complete.
        corks: how often bytes were collected and sent.
    """

    def __init__(self, *, multiplexes: bool = False) -> None:
        self.over = False
        self.multiplexes = multiplexes
        self.said: list[Message | None] = []
        self.faults: list[tuple[BaseException, bool]] = []
        self.completions = 0
        self.corks: list[str] = []

    def cork(self) -> None:
        self.corks.append("cork")

    async def uncork(self) -> None:
        await trio.lowlevel.checkpoint()
        self.corks.append("uncork")

    def completed(self) -> None:
        self.completions += 1

    def failed(self, fault: BaseException, *, cut: bool) -> None:
        self.faults.append((fault, cut))

    async def answer(self, message: Message | None) -> None:
        await trio.lowlevel.checkpoint()
        self.said.append(message)

    def exchange(self, scope: Message = HTTP) -> Exchange:
        return Exchange(self, scope, self.answer)

    @property
    def statuses(self) -> list[int]:
        return [each["status"] for each in self.said if each is not None and "status" in each]


def body(count: int) -> Message:
    return {"type": "http.request", "body": bytes(count), "more_body": True}


async def test_the_head_waits_for_the_body_and_both_are_sent_together() -> None:
    owner = Owner()
    exchange = owner.exchange()
    head = {"type": "http.response.start", "status": 200, "headers": []}
    await exchange.send(head)
    assert owner.said == []
    first = {"type": "http.response.body", "body": b"a", "more_body": True}
    await exchange.send(first)
    assert (owner.said, owner.corks, owner.completions) == ([head, first], ["cork", "uncork"], 0)
    await exchange.send({"type": "http.response.body", "body": b"b"})
    assert (owner.completions, exchange.complete) == (1, True)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_long_body_is_sent_in_parts(kind: Any) -> None:
    owner = Owner()
    exchange = owner.exchange()
    body = bytes(range(256)) * 1_000
    await exchange.send({"type": "http.response.start", "status": 200, "headers": []})
    await exchange.send({"type": "http.response.body", "body": kind(body), "more_body": True})
    assert owner.completions == 0
    await exchange.send({"type": "http.response.body", "body": kind(body)})
    parts = [each for each in owner.said if each is not None and "body" in each]
    assert b"".join(each["body"] for each in parts) == 2 * body
    assert max(len(each["body"]) for each in parts) == PART_BYTES
    assert [each["more_body"] for each in parts] == [True] * (len(parts) - 1) + [False]
    assert owner.completions == 1


async def test_a_long_body_whose_length_was_said_is_not_copied() -> None:
    owner = Owner()
    exchange = owner.exchange()
    body = bytes(300_000)
    await exchange.send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"300000")]})
    await exchange.send({"type": "http.response.body", "body": body})
    assert owner.said[1] is not None
    assert owner.said[1]["body"] is body


async def test_nothing_is_collected_where_the_body_may_wait_for_the_client() -> None:
    owner = Owner(multiplexes=True)
    await answer(owner.exchange().send)
    assert (len(owner.said), owner.corks) == (2, [])


async def test_a_response_with_trailers_is_complete_behind_them() -> None:
    owner = Owner(multiplexes=True)
    exchange = owner.exchange()
    await exchange.send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
    await exchange.send({"type": "http.response.body", "body": b"a"})
    assert owner.completions == 0
    await exchange.send({"type": "http.response.trailers", "headers": []})
    assert owner.completions == 1


async def test_a_body_that_is_not_received_keeps_the_client_waiting() -> None:
    exchange = Owner().exchange()
    async with trio.open_nursery() as nursery:
        await exchange.put(body(INBOX_BYTES - MESSAGE_BYTES - 1))
        nursery.start_soon(exchange.put, body(1))
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        await exchange.receive()
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_messages_without_a_body_keep_the_client_waiting_too(autojump_clock: MockClock) -> None:
    exchange = Owner().exchange(WEBSOCKET)
    taken = 0
    with trio.move_on_after(1) as scope:
        while taken < INBOX_BYTES:
            await exchange.put({"type": "websocket.receive", "text": ""})
            taken += 1
    assert scope.cancelled_caught
    assert taken == INBOX_BYTES // MESSAGE_BYTES - 1


@pytest.mark.parametrize("scope", [HTTP, WEBSOCKET])
async def test_what_comes_behind_an_answer_and_is_not_received_is_bounded(scope: Message) -> None:
    exchange = Owner().exchange(scope)
    if scope is HTTP:
        await answer(exchange.send)
    else:
        await exchange.send({"type": "websocket.close"})
    for _ in range(10):
        await exchange.put(body(INBOX_BYTES // 2))
    received = [await exchange.receive() for _ in range(5)]
    assert [each["type"] for each in received[:2]] == ["http.request"] * 2
    assert {each["type"] for each in received[2:]} == {f"{scope['type']}.disconnect"}


async def test_an_answer_frees_a_client_that_waits() -> None:
    exchange = Owner().exchange()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.put, body(INBOX_BYTES))
        await wait_all_tasks_blocked()
        await answer(exchange.send)
    await exchange.put(body(INBOX_BYTES))  # and later ones never wait


async def test_the_messages_of_before_come_before_the_end() -> None:
    exchange = Owner().exchange()
    await exchange.put(LAST)
    await exchange.put({"type": "http.disconnect"})
    assert await exchange.receive() == LAST
    for _ in range(3):
        assert await exchange.receive() == {"type": "http.disconnect"}


async def test_a_receive_waits_for_a_message() -> None:
    exchange, got = Owner().exchange(), list[Message]()

    async def receive() -> None:
        got.append(await exchange.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert not got
        await exchange.put(LAST)
    assert got == [LAST]


async def test_a_cancelled_receive_takes_no_message() -> None:
    owner = Owner()
    exchange, got = owner.exchange(), list[Message]()

    async def receive() -> None:
        message = await exchange.receive()
        got.append(message)
        await exchange.put(message)

    await exchange.put(LAST)

    def check() -> None:
        assert len(exchange._inbox) == 1

    await cancel_at_every_step(receive, check)
    assert got == [LAST]


async def raises(scope: Message, receive: Receive, send: Send) -> None:
    raise LookupError("as told")


async def returns(scope: Message, receive: Receive, send: Send) -> None:
    return


async def begins(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})


async def begins_and_raises(scope: Message, receive: Receive, send: Send) -> None:
    await begins(scope, receive, send)
    raise LookupError("as told")


async def answers_and_raises(scope: Message, receive: Receive, send: Send) -> None:
    await answer(send)
    raise LookupError("as told")


async def accepts(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})


async def accepts_and_raises(scope: Message, receive: Receive, send: Send) -> None:
    await accepts(scope, receive, send)
    raise LookupError("as told")


async def closes(scope: Message, receive: Receive, send: Send) -> None:
    await accepts(scope, receive, send)
    await send({"type": "websocket.close"})


@pytest.mark.parametrize(
    ("app", "scope", "fault", "cut", "statuses"),
    [
        (hello, HTTP, None, False, [200]),
        (raises, HTTP, LookupError, False, [500]),
        (returns, HTTP, IncompleteResponseError, False, [500]),
        (begins, HTTP, IncompleteResponseError, True, [200]),
        (begins_and_raises, HTTP, LookupError, True, [200]),
        (answers_and_raises, HTTP, LookupError, False, [200]),
        (raises, WEBSOCKET, LookupError, False, [500]),
        (returns, WEBSOCKET, IncompleteResponseError, False, [500]),
        (accepts, WEBSOCKET, None, False, []),
        (accepts_and_raises, WEBSOCKET, LookupError, False, []),
        (closes, WEBSOCKET, None, False, []),
    ],
)
async def test_the_guard(
    app: Any, scope: Message, fault: type[Exception] | None, cut: bool, statuses: list[int]
) -> None:
    owner = Owner()
    exchange = owner.exchange(scope)
    await exchange.put(LAST)
    await exchange.run(app)
    assert [(type(each), cut) for each, cut in owner.faults] == ([] if fault is None else [(fault, cut)])
    assert owner.statuses == statuses
    assert (owner.completions, exchange.complete) == (1, True)
    assert cut or owner.said[-1] is None  # the protocol learns that the application is over


@pytest.mark.parametrize("app", [raises, returns, begins, begins_and_raises])
async def test_once_told_that_the_client_left_an_application_may_end_as_it_likes(app: Any) -> None:
    owner = Owner()
    exchange = owner.exchange()
    await exchange.put({"type": "http.disconnect"})

    async def listens(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await app(scope, receive, send)

    await exchange.run(listens)
    assert (owner.faults, owner.completions) == ([], 1)


async def test_a_send_to_a_client_that_left_is_an_os_error_and_no_fault() -> None:
    owner = Owner()
    owner.over = True
    exchange = owner.exchange()
    with pytest.raises(ClientGoneError):
        await exchange.send({"type": "http.response.start", "status": 200, "headers": []})
    assert issubclass(ClientGoneError, OSError)
    await exchange.put(LAST)
    await exchange.run(hello)
    assert (owner.faults, owner.statuses) == ([], [])


async def test_a_cancel_and_a_fault_together_are_both_seen() -> None:
    async def both(scope: Message, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise LookupError("in the clean-up")

    owner = Owner()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(owner.exchange().run, both)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert owner.completions == 1
    assert len(owner.faults) == 1


async def test_whenever_it_is_cancelled_an_exchange_is_complete_once() -> None:
    owners: list[Owner] = []

    async def whole() -> None:
        owners.append(owner := Owner())
        exchange = owner.exchange()
        await exchange.put(LAST)
        await exchange.run(hello)

    def check() -> None:
        assert (owners[-1].completions, owners[-1].faults) == (1, [])

    assert await cancel_at_every_step(whole, check) > 3
