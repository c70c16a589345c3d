"""Requests to the panel: what is asked, what is bounded, and whether a request may have had an effect."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trioedge as te
from fake_panel import ALICE, PATH, TOKEN, FakePanel, user

from trioedge_uniproxy.errors import PanelError
from trioedge_uniproxy.panel import Delivery, Panel


def make(url: str, *, token: str = TOKEN, seconds: float = 0.5) -> Panel:
    def trust() -> None:
        raise NotImplementedError

    return Panel(url + PATH, lambda: token, {"node_id": "1", "node_type": "socks"}, trust, seconds)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(seconds: float = 0.5) -> AsyncIterator[tuple[FakePanel, Panel]]:
    fake = FakePanel(user(7, ALICE))
    async with fake.open():
        panel = make(fake.url, seconds=seconds)
        async with panel.open():
            yield fake, panel


async def test_an_answer_has_an_etag_by_which_it_is_asked_for_only_once() -> None:
    async with opened() as (_, panel):
        answer = await panel.get("user")
        assert answer is not None
        assert json.loads(answer.body) == {"users": [user(7, ALICE)]}
        assert await panel.get("user", answer.etag) is None
        assert await panel.get("user", '"another"') == answer


@pytest.mark.parametrize("etag", [b'"\xc3\xa9"', b'"\xff"'])
async def test_an_etag_that_no_request_can_name_is_none(etag: bytes) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def answer() -> None:
        while True:
            async with await listener.accept() as stream:
                await stream.receive_some()
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: " + etag + b"\r\n\r\n{}")

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        panel = make(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        async with panel.open():
            for _ in range(2):
                found = await panel.get("user")
                assert found is not None
                assert (found.body, found.etag) == (b"{}", "")
        nursery.cancel_scope.cancel()


async def test_304_to_a_question_without_an_etag_is_no_answer() -> None:
    async with opened() as (fake, panel):
        fake.always["user"] = 304
        with pytest.raises(PanelError, match=r"/user: status 304$"):
            await panel.get("user")


async def test_what_is_told_is_json() -> None:
    async with opened() as (fake, panel):
        await panel.post("push", {"7": (1, 2)})
        await panel.post("alive", {"7": ["192.0.2.1"]})
        assert dict(fake.books) == {"7": [1, 2]}
        assert fake.addresses["1"] == {"7": ["192.0.2.1"]}


@pytest.mark.parametrize(
    ("fault", "possible"),
    [(301, False), (403, False), (404, False), (429, False), (503, False), (500, True), (502, True), (504, True),
     ("hang", True), ("counted", True), ("reset", True), ("cut", True)],
)  # fmt: skip
async def test_a_request_may_have_had_an_effect_unless_the_panel_has_refused_it(
    fault: int | str, possible: bool
) -> None:
    async with opened(0.3) as (fake, panel):
        fake.faults["push"].append(fault)
        delivery = Delivery()
        with pytest.raises(PanelError, match=rf"^POST {fake.url}{PATH}/push: "):
            await panel.post("push", {"7": (1, 2)}, delivery)
        assert delivery.possible is possible


async def test_a_request_without_a_connection_has_had_no_effect() -> None:
    fake = FakePanel()
    async with fake.open():
        pass
    panel = make(fake.url)
    async with panel.open():
        delivery = Delivery()
        with pytest.raises(PanelError, match=r"/push: no connection: ") as caught:
            await panel.post("push", {}, delivery)
        assert not delivery.possible
        assert caught.value.status == 0


async def test_a_panel_that_takes_no_connection_in_time_has_not_had_the_request() -> None:
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [trio.socket.socket() for _ in range(4)]
        for filler in fillers:
            with trio.move_on_after(0.05):
                await filler.connect(("127.0.0.1", port))
        panel, delivery = make(f"http://127.0.0.1:{port}", seconds=0.6), Delivery()
        async with panel.open():
            with pytest.raises(PanelError):
                await panel.post("push", {}, delivery)
        assert not delivery.possible
        for filler in fillers:
            filler.close()


async def test_a_push_that_is_cancelled_may_have_had_an_effect() -> None:
    async with opened() as (fake, panel):
        fake.faults["push"].append("counted")
        delivery = Delivery()
        with trio.move_on_after(0.1):
            await panel.post("push", {"7": (1, 2)}, delivery)
        assert delivery.possible


async def test_without_a_token_nothing_is_sent() -> None:
    def no_token() -> str:
        raise te.ConfigurationError("Secret(env='PANEL') is not set, or is empty")

    async with opened() as (fake, _):
        panel, delivery = Panel(fake.url + PATH, no_token, {}, lambda: None, 1), Delivery()  # type: ignore[arg-type,return-value]
        async with panel.open():
            with pytest.raises(PanelError, match=r"/push: Secret\(env='PANEL'\) is not set"):
                await panel.post("push", {}, delivery)
        assert fake.requests == []
        assert not delivery.possible


async def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    async with opened(5) as (fake, panel):
        fake.always["user"] = "huge"
        with pytest.raises(PanelError, match=r"/user: more than 1,000 bytes$"):
            await panel.get("user", max_bytes=1_000)


@pytest.mark.parametrize("message", ["x" * 1000, f"your {TOKEN} is wrong", 5, None])
async def test_the_words_of_a_panel_are_short_and_without_the_token(message: object) -> None:
    panel = make("http://127.0.0.1:1")
    text = str(panel._refusal("GET", "user", 500, json.dumps({"message": message}).encode()))
    assert len(text) < 220
    assert TOKEN not in text
    assert str(panel._refusal("GET", "user", 500, b"<html>")) == f"GET http://127.0.0.1:1{PATH}/user: status 500"


async def test_a_panel_that_is_not_open_is_not_asked() -> None:
    panel, delivery = make("http://127.0.0.1:1"), Delivery()
    with pytest.raises(PanelError, match=r": the edge is not running$"):
        await panel.post("push", {}, delivery)
    assert not delivery.possible
