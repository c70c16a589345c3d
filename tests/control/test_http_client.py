import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.control.planes import Answer, Scripted, answer, said
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.ports import closed_port
from trioedge.control.http_client import MAX_ANSWER_BYTES, HttpClient, NoAnswerError, short
from trioedge.errors import ConfigurationError


def client_of(url: str, **changes: Any) -> HttpClient:
    arguments = {
        "token": None, "ca": None, "plain_http": False, "connections": 4, "read_seconds": 5.0,
    }  # fmt: skip
    return HttpClient("Owner", url, **(arguments | changes))


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
    """Raise in the midst of an answer."""
    async with client.ask("GET", "/x", 5) as found:
        async for _ in found.chunks:
            raise fault


async def test_an_answer_has_a_status_headers_and_a_body() -> None:
    async with scripted(answer(b"hello", etag='"1"')) as (plane, client), client.ask("GET", "/x", 5) as found:
        assert (found.status, found.headers["ETag"]) == (200, '"1"')
        assert [chunk async for chunk in found.chunks] == [b"hello"]
        assert str(plane.requests[0]) == "GET /x"


async def test_whatever_status_is_good_is_an_answer() -> None:
    async with scripted(answer(b"", status="304 Not Modified"), answer(b"", status="304 Not Modified")) as (_, client):
        async with client.ask("GET", "/x", 5, good=(200, 304)) as found:
            assert found.status == 304
        with pytest.raises(NoAnswerError, match=r"^GET http://127\.0\.0\.1:\d+/x: status 304$"):
            await body(client)


async def test_a_connection_is_used_again_even_if_a_good_answer_was_not_read() -> None:
    async with scripted(*[answer(b"", status="304 Not Modified")] * 3) as (plane, client):
        for _ in range(3):
            async with client.ask("GET", "/x", 5, good=(304,)):
                pass
        assert len(plane.requests) == 3


@pytest.mark.parametrize(("token", "words"), [("secret", "the token is refused"), (None, "it wants a token")])
async def test_a_refused_token_is_told_from_none(token: str | None, words: str) -> None:
    async with scripted(answer(b"", status="401 Unauthorized"), token=token) as (_, client):
        with pytest.raises(NoAnswerError, match=words) as caught:
            await body(client)
        assert "secret" not in str(caught.value)


async def test_a_block_that_does_not_like_the_answer_is_told_what_was_asked() -> None:
    async with scripted(answer(b"hello" * 100_000)) as (_, client):
        with pytest.raises(NoAnswerError, match=r"^GET http://127\.0\.0\.1:\d+/x: no good$"):
            await leave(client, NoAnswerError("no good"))


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
async def test_a_fault_in_the_block_leaves_nothing_open(fault: type[BaseException]) -> None:
    """Warnings are errors here: a generator that is left behind is one."""
    async with scripted(answer(b"hello" * 100_000)) as (_, client):
        with pytest.raises(fault):
            await leave(client, fault())


async def test_nobody_waits_for_longer_than_they_said() -> None:
    async with scripted() as (_, client):
        began = trio.current_time()
        with pytest.raises(NoAnswerError, match="no answer in time"):
            await body(client, seconds=0.1)
        assert trio.current_time() - began < 0.5


async def test_silence_has_a_limit_too() -> None:
    async def half(connection: trio.SocketStream) -> None:
        await connection.send_all(answer(b"half", length=8))
        await trio.sleep_forever()

    async with scripted(half, read_seconds=0.1) as (_, client):
        with pytest.raises(NoAnswerError, match="no answer in time"):
            await body(client)


async def test_a_request_that_is_cancelled_makes_room_for_the_next() -> None:
    async with scripted(connections=1) as (plane, client):
        with trio.move_on_after(0.05) as scope:
            await body(client)
        assert scope.cancelled_caught
        plane.answers.append(answer(b"hello"))
        assert await body(client) == b"hello"


@pytest.mark.filterwarnings("ignore:Async generator 'httpx._content.ByteStream.__aiter__':ResourceWarning")
async def test_a_question_that_is_cancelled_leaves_nothing_open_wherever_it_waits() -> None:
    """For the connection, the head, the first and the second half of the body, some fifty times: a quarter of a second.

    One that is sent just then is httpx's generator of one piece, which it does not close; it holds nothing.
    """
    whole = said({"accept": True})
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
        with pytest.raises(NoAnswerError, match="nobody may ask now"):
            await body(client)
        nursery.cancel_scope.cancel()
    assert len(failures) <= 1


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    async with scripted(answer(b"hello")) as (_, client):
        assert await body(client) == b"hello"


async def test_a_redirect_is_not_followed() -> None:
    async with scripted(answer(b"", status="307 Elsewhere", location="http://192.0.2.1/"), token="x") as (_, client):
        with pytest.raises(NoAnswerError, match="status 307"):
            await body(client)


async def test_a_path_stands_before_the_routes() -> None:
    plane = Scripted(answer(b"hello"))
    async with plane.serving() as url:
        client = client_of(f"{url}/edges/")
        async with client.open():
            await body(client)
        assert str(plane.requests[0]) == "GET /edges/x"


async def test_json_is_answered_by_json() -> None:
    async with scripted(said({"a": [1]}), answer(b"nonsense"), answer(b"1" * (MAX_ANSWER_BYTES + 1))) as (
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


@pytest.mark.parametrize(
    ("url", "changes", "complaint"),
    [
        (3, {}, "Owner(url=...) is no URL"),
        ("https://control.example:x", {}, "is no URL"),
        ("https://user:secret@control.example:x", {}, "is no URL"),
        ("https://control.example:99999", {}, "must be like"),
        ("control.example", {}, "must be like 'https://control.example'"),
        ("ftp://control.example", {}, "must be like"),
        ("https://", {}, "must be like"),
        ("https://control.example/?a=1", {}, "must be like"),
        ("https://control.example/#a", {}, "must be like"),
        ("http://control.example", {}, "lets everybody on the way change policies"),
        ("http://control.example", {"token": "secret"}, "would show the token to everybody"),
        ("http://control.example", {"token": "secret", "plain_http": True}, "would show the token"),
        ("https://user:secret@control.example", {}, "a password goes into token="),
        ("https://control.example", {"token": "secret\n"}, "printable ASCII"),
        ("https://control.example", {"token": "secret secret"}, "printable ASCII"),
        ("https://control.example", {"token": "secrét"}, "printable ASCII"),
        ("https://control.example", {"token": ""}, "printable ASCII"),
        ("https://control.example", {"ca": "/nowhere.pem"}, "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_without_a_secret(url: Any, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        client_of(url, **changes)
    assert complaint in str(caught.value)
    assert "secr" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.9.9.9", "http://[::1]:9", "http://localhost:9"])
def test_this_machine_may_be_reached_in_the_clear(url: str) -> None:
    assert repr(client_of(url, token="secret")) == f"{url!r}, token=..."


def test_others_may_if_somebody_says_so() -> None:
    assert repr(client_of("http://control.example/", plain_http=True)) == "'http://control.example'"


def test_httpx_is_imported_by_whoever_needs_it() -> None:
    code = "import sys, trioedge; assert 'httpx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


def test_what_is_long_is_quoted_in_part() -> None:
    assert short({"a": 1}) == "{'a': 1}"
    assert len(short("x" * 1000)) == 103
