"""The requests over real sockets of the loopback interface, with every fault that a server may have."""

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme
from cancels import cancel_at_every_step, left_open
from raw_server import Answer, RawServer, answer, decisions

from trioedge_crowdsec import lapi as module
from trioedge_crowdsec.errors import LapiError
from trioedge_crowdsec.lapi import Lapi

KEY = "0123456789abcdef"
BAN = {"id": 1, "value": "192.0.2.7"}


def lapi_at(url: str, trust: ssl.SSLContext | None = None, key: Callable[[], str] = lambda: KEY) -> Lapi:
    return Lapi(url, key, trust)


async def ask(lapi: Lapi, *, startup: bool = True) -> dict[str, list[Any]]:
    taken: dict[str, list[Any]] = {"new": [], "deleted": []}
    await lapi.ask({name: each.append for name, each in taken.items()}, startup=startup)
    return taken


@asynccontextmanager
async def asking(*answers: Answer) -> AsyncIterator[tuple[Lapi, RawServer]]:
    server = RawServer(*answers)
    async with server.serving() as url:
        lapi = lapi_at(url)
        async with lapi.open():
            yield lapi, server


async def test_a_request_has_the_key_and_asks_for_every_decision_by_itself() -> None:
    async with asking(decisions([BAN]), decisions(None, [BAN])) as (lapi, server):
        assert await ask(lapi) == {"new": [BAN], "deleted": []}
        assert await ask(lapi, startup=False) == {"new": [], "deleted": [BAN]}
    first, second = server.heads
    assert first.startswith("GET /v1/decisions/stream?startup=true&dedup=false HTTP/1.1\r\n")
    assert second.startswith("GET /v1/decisions/stream?startup=false&dedup=false HTTP/1.1\r\n")
    assert f"X-Api-Key: {KEY}" in first
    assert "User-Agent: trioedge-crowdsec/v0.1.0" in first
    assert server.connections == 1


async def test_a_path_of_the_url_is_put_before_the_route() -> None:
    server = RawServer(decisions(None))
    async with server.serving() as url:
        lapi = lapi_at(f"{url}/lapi")
        async with lapi.open():
            await ask(lapi)
    assert server.heads[0].startswith("GET /lapi/v1/decisions/stream?")


async def slow(stream: trio.abc.Stream) -> None:
    await stream.send_all(answer(b'{"new":[1', length=100))
    await trio.sleep_forever()


async def hangs_up(stream: trio.abc.Stream) -> None:
    await stream.send_all(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"new\r\n')


async def endless(stream: trio.abc.Stream) -> None:
    await stream.send_all(b'HTTP/1.1 200 OK\r\n\r\n{"new":[')
    while True:
        await stream.send_all(b"1," * 1000)


async def silent(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (answer(b'{"message":"access forbidden"}', "403 Forbidden"), "refuses the key .status 403.*cscli bouncers add"),
        (answer(b"", "401 Unauthorized"), "refuses the key .status 401."),
        (answer(b"", "500 Internal Server Error"), "^status 500$"),
        (answer(b"", "429 Too Many Requests"), "^status 429$"),
        (answer(b"", "204 No Content"), "^status 204$"),
        (b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", "^status 302$"),
        (answer(b"<html>"), "not the JSON of a stream"),
        (hangs_up, "incomplete|closed"),
        (endless, "more than 100,000 bytes"),
        (b"nonsense\r\n\r\n", "illegal|status line"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500_000, "."),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "."),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00", "JSON|UTF-8"),
    ],
)  # fmt: skip
async def test_a_bad_answer_is_an_error_of_one_line_and_the_next_request_works(
    bad: Answer, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge_crowdsec.answer.MAX_ANSWER_BYTES", 100_000)
    async with asking(bad, decisions([BAN])) as (lapi, _):
        with pytest.raises(LapiError, match=fault) as error:
            await ask(lapi)
        assert "\n" not in str(error.value)
        assert KEY not in str(error.value)
        assert (await ask(lapi))["new"] == [BAN]


@pytest.mark.parametrize("limit", ["ANSWER_SECONDS", "READ_SECONDS"])
@pytest.mark.parametrize("bad", [slow, silent, answer(b'{"new":[1', length=100)])
async def test_a_server_that_stops_sending_is_given_up(
    bad: Answer, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, 0.05)
    async with asking(bad) as (lapi, _):
        with pytest.raises(LapiError, match="no answer in time"):
            await ask(lapi)


async def test_no_server_is_an_error() -> None:
    async with RawServer().serving() as url:
        pass
    lapi = lapi_at(url)
    async with lapi.open():
        with pytest.raises(LapiError, match=r"connect to 127\.0\.0\.1"):
            await ask(lapi)


async def test_a_request_of_a_client_that_is_not_open_is_an_error() -> None:
    with pytest.raises(LapiError, match="not open"):
        await ask(lapi_at("http://127.0.0.1:1"))


async def test_a_key_that_cannot_be_read_is_an_error_and_no_request() -> None:
    def no_key() -> str:
        raise LapiError("Secret(env='KEY') is not set, or is empty")

    server = RawServer(decisions(None))
    async with server.serving() as url:
        lapi = lapi_at(url, key=no_key)
        async with lapi.open():
            with pytest.raises(LapiError, match="not set"):
                await ask(lapi)
    assert server.heads == []


async def test_a_connection_that_the_server_has_closed_meanwhile_is_made_again() -> None:
    async def answers_and_closes(stream: trio.abc.Stream) -> None:
        await stream.send_all(decisions(None))

    async with asking(answers_and_closes, decisions([BAN])) as (lapi, server):
        await ask(lapi)
        await trio.sleep(0.05)
        assert (await ask(lapi))["new"] == [BAN]
        assert server.connections == 2


async def test_over_tls_the_certificate_must_be_of_the_authority() -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with RawServer(decisions([BAN])).serving(tls) as url:
        lapi = lapi_at(url, trust)
        async with lapi.open():
            assert (await ask(lapi))["new"] == [BAN]
    async with RawServer(decisions([BAN])).serving(tls) as url:
        lapi = lapi_at(url, ssl.create_default_context())
        async with lapi.open():
            with pytest.raises(LapiError, match="certificate"):
                await ask(lapi)


async def test_a_cancel_at_any_step_leaves_nothing_open() -> None:
    """Some hundred requests, each cancelled a step later."""
    many = answer(json.dumps({"new": [BAN] * 200}).encode())

    async def act() -> None:
        async with asking(many) as (lapi, _):
            await ask(lapi)

    await act()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    assert await cancel_at_every_step(act, check) > 20
