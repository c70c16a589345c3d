"""Requests of one client to a server with scripted answers."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.control_planes import Answer, Scripted, answer, json_answer
from tests.support.ports import closed_port
from trioedge.control.http_client import MAX_ANSWER_BYTES, HttpClient, NoAnswerError, parse_url


def client_of(url: str, **changes: Any) -> HttpClient:
    return HttpClient(parse_url(url), **({"read_seconds": 5.0} | changes))


@asynccontextmanager
async def scripted(*answers: Answer, **changes: Any) -> AsyncIterator[tuple[Scripted, HttpClient]]:
    plane = Scripted(*answers)
    async with plane.serving() as url:
        client = client_of(url, **changes)
        async with client.open():
            yield plane, client


async def body(client: HttpClient, seconds: float = 5.0, **more: Any) -> bytes:
    async with client.ask("GET", "/x", seconds, **more) as found:
        return b"".join([chunk async for chunk in found.chunks])


async def leave(client: HttpClient, fault: BaseException) -> None:
    """Raise while the body is received."""
    async with client.ask("GET", "/x", 5) as found:
        async for _ in found.chunks:
            raise fault


async def test_an_answer_has_a_status_headers_and_a_body() -> None:
    async with scripted(answer(b"hello", etag='"1"')) as (plane, client), client.ask("GET", "/x", 5) as found:
        assert (found.status, found.headers["ETag"]) == (200, '"1"')
        assert [chunk async for chunk in found.chunks] == [b"hello"]
        assert str(plane.requests[0]) == "GET /x"


async def test_a_status_that_is_not_expected_is_no_answer() -> None:
    async with scripted(answer(b"", status="304 Not Modified"), answer(b"", status="304 Not Modified")) as (_, client):
        async with client.ask("GET", "/x", 5, good=(200, 304)) as found:
            assert found.status == 304
        with pytest.raises(NoAnswerError, match=r"^GET http://127\.0\.0\.1:\d+/x: status 304$"):
            await body(client)


async def test_an_answer_that_is_not_read_leaves_its_connection_usable() -> None:
    async with scripted(*[answer(b"", status="304 Not Modified")] * 3) as (plane, client):
        for _ in range(3):
            async with client.ask("GET", "/x", 5, good=(304,)):
                pass
        assert len(plane.requests) == 3


@pytest.mark.parametrize(("token", "words"), [("secret", "the token is refused"), (None, "it wants a token")])
async def test_a_refused_token_and_a_missing_one_have_their_own_messages(token: str | None, words: str) -> None:
    async with scripted(answer(b"", status="401 Unauthorized"), token=token) as (_, client):
        with pytest.raises(NoAnswerError, match=words) as caught:
            await body(client)
        assert "secret" not in str(caught.value)


async def test_an_error_raised_in_the_block_is_prefixed_with_the_request() -> None:
    async with scripted(answer(b"hello" * 100_000)) as (_, client):
        with pytest.raises(NoAnswerError, match=r"^GET http://127\.0\.0\.1:\d+/x: no good$"):
            await leave(client, NoAnswerError("no good"))


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
async def test_a_fault_in_the_block_leaves_nothing_open(fault: type[BaseException]) -> None:
    """A generator that is left open would be a warning, and warnings are errors here."""
    async with scripted(answer(b"hello" * 100_000)) as (_, client):
        with pytest.raises(fault):
            await leave(client, fault())


async def test_a_request_without_an_answer_ends_at_its_deadline() -> None:
    async with scripted() as (_, client):
        began = trio.current_time()
        with pytest.raises(NoAnswerError, match="no answer in time"):
            await body(client, seconds=0.1)
        assert trio.current_time() - began < 0.5


async def test_an_answer_that_stops_in_the_middle_is_given_up() -> None:
    async def half(connection: trio.SocketStream) -> None:
        await connection.send_all(answer(b"half", length=8))
        await trio.sleep_forever()

    async with scripted(half, read_seconds=0.1) as (_, client):
        with pytest.raises(NoAnswerError, match="no answer in time"):
            await body(client)


async def test_after_a_request_that_was_cancelled_the_next_is_answered() -> None:
    async with scripted() as (plane, client):
        with trio.move_on_after(0.05) as scope:
            await body(client)
        assert scope.cancelled_caught
        plane.answers.append(answer(b"hello"))
        assert await body(client) == b"hello"


@pytest.mark.filterwarnings("ignore:Async generator 'httpx._content.ByteStream.__aiter__':ResourceWarning")
async def test_a_post_that_is_cancelled_at_any_step_leaves_nothing_open() -> None:
    """While it connects and waits for the head and both halves of the body, some fifty times: a quarter of a second.

    The warning that is ignored is about httpx's generator for the body that is sent: httpx does not close it, and it
    keeps nothing open.
    """
    whole = json_answer({"accept": True})
    answers: list[object] = []

    async def halting(connection: trio.SocketStream) -> None:
        await connection.send_all(whole[:-8])
        await trio.sleep(0.001)
        await connection.send_all(whole[-8:])

    async def ask() -> None:
        async with scripted(halting) as (_, client):
            answers.append(await client.post("/x", 5, b"{}"))

    await ask()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    assert await cancel_at_every_step(ask, check) > 15
    assert answers[-1] == {"accept": True}


async def test_the_end_of_the_block_ends_every_request() -> None:
    plane = Scripted()
    failures: list[str] = []

    async def wait(client: HttpClient) -> None:
        try:
            await body(client)
        except NoAnswerError as error:
            failures.append(str(error))

    async with plane.serving() as url, trio.open_nursery() as nursery:
        client = client_of(url)
        async with client.open():
            nursery.start_soon(wait, client)
            with trio.fail_after(5):
                while not plane.requests:
                    await trio.sleep(0.001)
        with pytest.raises(NoAnswerError, match="the client is not open"):
            await body(client)
        nursery.cancel_scope.cancel()
    assert len(failures) <= 1


async def test_blocks_that_overlap_share_connections_until_the_last_ends() -> None:
    plane = Scripted(*[answer(b"hello")] * 3)
    async with plane.serving() as url:
        before = left_open()
        client = client_of(url)
        first, second = client.open(), client.open()
        await first.__aenter__()
        assert await body(client) == b"hello"
        await second.__aenter__()
        await first.__aexit__(None, None, None)
        assert await body(client) == b"hello"
        await second.__aexit__(None, None, None)
        with pytest.raises(NoAnswerError, match="the client is not open"):
            await body(client)
        async with client.open():
            assert await body(client) == b"hello"
        await trio.testing.wait_all_tasks_blocked()
        assert left_open() == before


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    async with scripted(answer(b"hello")) as (_, client):
        assert await body(client) == b"hello"


async def test_a_redirect_is_not_followed() -> None:
    async with scripted(answer(b"", status="307 Elsewhere", location="http://192.0.2.1/"), token="x") as (_, client):
        with pytest.raises(NoAnswerError, match="status 307"):
            await body(client)


async def test_a_path_that_the_server_asks_to_leave_alone_is_not_asked_and_others_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy = answer(b"", status="429 Too Many Requests", retry_after="60")
    async with scripted(busy, json_answer(1), json_answer(2)) as (plane, client):
        with pytest.raises(NoAnswerError, match=r"^POST http\S+/x: status 429: it asks to wait for 60 s$"):
            await client.post("/x", 5, b"{}")
        for _ in range(3):
            with pytest.raises(NoAnswerError, match=r"/x: the server asks to wait for (60|5\d\.\d+) s$") as caught:
                await client.post("/x", 5, b"{}")
            assert 50 < caught.value.retry_seconds <= 60
        assert await client.post("/y", 5, b"{}") == 1
        assert [request.target for request in plane.requests] == ["/x", "/y"]
        current_time = trio.current_time
        with monkeypatch.context() as patched:
            patched.setattr(trio, "current_time", lambda: current_time() + 60)
            assert await client.post("/x", 5, b"{}") == 2


async def test_a_wait_of_an_earlier_run_is_forgotten_because_each_run_has_a_clock_of_its_own() -> None:
    plane = Scripted(answer(b"", status="503 Service Unavailable", retry_after="3600"), json_answer(1))
    async with plane.serving() as url:
        client = client_of(url)
        async with client.open():
            with pytest.raises(NoAnswerError, match="it asks to wait for 300 s"):
                await client.post("/x", 5, b"{}")
        async with client.open():
            assert await client.post("/x", 5, b"{}") == 1


async def test_the_path_of_the_url_is_put_before_the_routes() -> None:
    plane = Scripted(answer(b"hello"))
    async with plane.serving() as url:
        client = client_of(f"{url}/edges/")
        async with client.open():
            await body(client)
        assert str(plane.requests[0]) == "GET /edges/x"


async def test_a_post_of_json_is_answered_by_json_of_limited_size() -> None:
    async with scripted(json_answer({"a": [1]}), answer(b"nonsense"), answer(b"1" * (MAX_ANSWER_BYTES + 1))) as (
        plane,
        client,
    ):
        assert await client.post("/x", 5, b'{"b": 2}') == {"a": [1]}
        assert (str(plane.requests[0]), plane.requests[0].body) == ("POST /x", b'{"b": 2}')
        assert plane.requests[0].headers["content-type"] == "application/json"
        with pytest.raises(NoAnswerError, match="not JSON: b'nonsense'"):
            await client.post("/x", 5, b"{}")
        with pytest.raises(NoAnswerError, match="more than 65,536 bytes"):
            await client.post("/x", 5, b"{}")


def test_importing_trioedge_does_not_import_httpx() -> None:
    code = "import sys, trioedge; assert 'httpx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


@pytest.mark.parametrize("text", [3, "https://control.example:x"])
def test_a_text_that_is_no_url_is_a_value_error(text: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_url(text)
