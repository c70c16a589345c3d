import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.fake_edge import Asking, FakeEdge, fake_edge, page
from trioedge.addresses.address import parse_address
from trioedge.cli.client.client import PAGE, EdgeClient, path_of
from trioedge.cli.client.errors import AdminError, UnreachableError


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[FakeEdge]:
    with fake_edge(tmp_path) as edge:
        yield edge


def client_of(edge: FakeEdge, token: str | None = None) -> EdgeClient:
    return EdgeClient(parse_address(edge.address), token)


def test_every_part_of_a_path_is_quoted() -> None:
    assert path_of("services", "a/b ü?", "devices") == "/v1/services/a%2Fb%20%C3%BC%3F/devices"
    assert path_of("sessions", 17) == "/v1/sessions/17"


async def test_a_list_is_read_page_by_page_up_to_the_limit(edge: FakeEdge) -> None:
    def answer(asking: Asking) -> tuple[int, object]:
        after, limit = int(asking.query.get("after", 0)), int(asking.query["limit"])
        items = list(range(after, min(after + limit, 2_500)))
        return 200, {"items": items, "next": items[-1] + 1 if items[-1] < 2_499 else None}

    edge.answers["GET", "/v1/sessions"] = answer
    for limit, asked in ((None, [PAGE] * 3), (2_500, [PAGE, PAGE, 500]), (1_200, [PAGE, 200]), (7, [7])):
        edge.asked.clear()
        found = await client_of(edge).items("/v1/sessions", limit, service="a", source=None)
        wanted = min(limit or 2_500, 2_500)
        assert found == {"items": list(range(wanted)), "next": wanted if wanted < 2_500 else None}
        assert [int(each.query["limit"]) for each in edge.asked] == asked
        assert all(each.query["service"] == "a" and "source" not in each.query for each in edge.asked)


@pytest.mark.parametrize(
    ("status", "answer", "path", "says"),
    [
        (404, {"error": "there is no session 5"}, "/v1/sessions/5", "there is no session 5"),
        (404, {"error": "no"}, "/v1/top", "{edge} has no GET /v1/top: its trioedge is older than this command"),
        (405, {"error": "no"}, "/v1/top", "{edge} has no GET /v1/top: its trioedge is older than this command"),
        (422, {"faults": ["query.by: wrong", "b"]}, "/v1/top", "query.by: wrong; b"),
        (401, {"error": "x"}, "/v1/top", "{edge} wants its token: give it with --token-file FILE or TRIOEDGE_TOKEN"),
        (503, {}, "/v1/top", "{edge} answered GET /v1/top with 503"),
    ],
)
async def test_an_error_of_the_edge_is_told(status: int, answer: object, path: str, says: str, edge: FakeEdge) -> None:
    edge.answers["GET", path] = (status, answer)
    with pytest.raises(AdminError) as caught:
        await client_of(edge).get(path)
    assert str(caught.value) == says.format(edge=edge.address)
    assert caught.value.status == status


async def test_a_wrong_token_is_told_and_the_right_one_is_sent(edge: FakeEdge) -> None:
    edge.token = "right"
    with pytest.raises(AdminError, match="wants its token: this one is wrong"):
        await client_of(edge, "wrong").get("/v1/top", by="source")
    assert (await client_of(edge, "right").get("/v1/top", by="source"))["items"]
    assert "right" not in repr(client_of(edge, "right"))


async def test_an_error_whose_status_is_expected_is_an_answer(edge: FakeEdge) -> None:
    edge.answers["GET", "/ready"] = (503, {"ready": False})
    assert await client_of(edge).ask("GET", "/ready", allowed=503) == {"ready": False}


@pytest.mark.parametrize("answer", [b"", b"none", b"<html>", b"\xff"])
async def test_what_is_no_json_is_no_edge(answer: bytes, edge: FakeEdge) -> None:
    edge.answers["GET", "/v1/top"] = (200, answer)
    with pytest.raises(UnreachableError, match=f"{edge.address} is no admin API of trioedge"):
        await client_of(edge).get("/v1/top")


@pytest.mark.parametrize("answer", [{}, [], {"items": None}])
async def test_a_list_without_items_is_no_edge(answer: object, edge: FakeEdge) -> None:
    edge.answers["GET", "/v1/sessions"] = (200, answer)
    with pytest.raises(UnreachableError, match="is no admin API of trioedge"):
        await client_of(edge).items("/v1/sessions", None)


async def fault_of(address: str) -> str:
    with pytest.raises(UnreachableError) as caught:
        await EdgeClient(parse_address(address)).get("/v1/top")
    return str(caught.value)


async def test_an_edge_that_cannot_be_reached_says_how_to_mend_it(tmp_path: Path) -> None:
    missing = f"unix://{tmp_path}/missing.sock"
    assert (await fault_of(missing)).startswith(f"{missing} is not there: the edge does not run, or has no admin=")
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as left, socket.socket() as closed:
        left.bind(f"{tmp_path}/left.sock")
        for path in ("file", "left.sock"):
            assert "has no edge: it has ended, or listens elsewhere" in await fault_of(f"unix://{tmp_path}/{path}")
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert (await fault_of(f"tcp://127.0.0.1:{port}")).startswith(f"tcp://127.0.0.1:{port} has no edge: it has")
    assert "has no edge: " in await fault_of("tcp://name.invalid:1")


async def test_a_socket_of_another_user_names_its_user(edge: FakeEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(path: str) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(trio, "open_unix_socket", refuse)
    import pwd

    user = pwd.getpwuid(os.getuid()).pw_name
    assert await fault_of(edge.address) == f"{edge.address} is not open to this user: run this as {user}"


async def test_an_edge_that_does_not_answer_is_waited_for_5_s(tmp_path: Path, autojump_clock: MockClock) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{tmp_path}/silent.sock")
        silent.listen()
        start = trio.current_time()
        says = await fault_of(f"unix://{tmp_path}/silent.sock")
        assert "did not answer within 5 s: its loop is stalled" in says
        assert trio.current_time() - start == 5


async def test_a_connection_that_breaks_is_told(tmp_path: Path) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.aclose()

    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(f"{tmp_path}/edge.sock")
        sock.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, serve, [trio.SocketListener(sock)]))
            says = await fault_of(f"unix://{tmp_path}/edge.sock")
            nursery.cancel_scope.cancel()
    assert says.startswith((f"unix://{tmp_path}/edge.sock closed", f"unix://{tmp_path}/edge.sock is no admin API"))


async def test_events_come_until_the_edge_ends_the_stream(edge: FakeEdge) -> None:
    edge.events = b'event: ended\ndata: {"id": 1}\n\nevent: lost\ndata: {"records": 2}\n\n'
    async with client_of(edge).events("/v1/events") as events:
        assert [event async for event in events] == [("ended", {"id": 1}), ("lost", {"records": 2})]


async def test_events_of_an_edge_that_has_none_are_refused_at_once(edge: FakeEdge) -> None:
    with pytest.raises(AdminError, match="has no GET /v1/events"):
        async with client_of(edge).events("/v1/events"):
            raise AssertionError("there are no events")


async def test_events_that_are_no_json_are_no_edge(edge: FakeEdge) -> None:
    edge.events = b"data: {\n\n"
    async with client_of(edge).events("/v1/events") as events:
        with pytest.raises(UnreachableError, match="is no admin API"):
            await anext(events)


async def test_a_stream_that_falls_silent_is_broken(tmp_path: Path, autojump_clock: MockClock) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n")
        await trio.sleep_forever()

    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(f"{tmp_path}/edge.sock")
        sock.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, serve, [trio.SocketListener(sock)]))
            async with EdgeClient(parse_address(f"unix://{tmp_path}/edge.sock")).events("/v1/events") as events:
                assert await anext(events) == ("message", 1)
                with pytest.raises(UnreachableError, match="did not answer within 30 s"):
                    await anext(events)
            nursery.cancel_scope.cancel()


async def test_a_call_that_is_cancelled_at_any_step_leaves_no_connection(edge: FakeEdge) -> None:
    edge.answers["GET", "/v1/top"] = page(1)
    client = client_of(edge)
    tasks, _ = left_open()

    async def act() -> None:
        assert await client.get("/v1/top") == {"items": [1], "next": None}

    def check() -> None:
        assert left_open()[0] == tasks

    assert await cancel_at_every_step(act, check) > 3
