"""HTTP of one session in memory, under a fake clock: its limits, its endings, its faults."""

from contextlib import suppress

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

import trioedge as te
from tests.support.applications import (
    HEAD,
    Application,
    Handler,
    Message,
    Receive,
    Send,
    answer,
    ask,
    body_of,
    digest,
    edge_of,
    hello,
    request,
    response,
)
from trioedge.endpoints.asgi.patience import GONE_SECONDS
from trioedge.testing import open_edge
from trioedge.testing.rehearsal import Client

FULL = 200_000
"""Bytes that no test reads, in lockstep with a client that reads nothing."""


async def forever(scope: Message, receive: Receive, send: Send) -> None:
    await trio.sleep_forever()


async def streams(scope: Message, receive: Receive, send: Send) -> None:
    """Stream a body without end, and without asking whether the client is there."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"tick", "more_body": True})
        await trio.sleep(1)


async def large(scope: Message, receive: Receive, send: Send) -> None:
    await answer(send, bytes(FULL))


async def breaks(scope: Message, receive: Receive, send: Send) -> None:
    raise LookupError("as told")


async def breaks_midway(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise LookupError("as told")


def only(handle: Handler) -> Application:
    """Make an application that handles every request in the same way."""
    return Application(handle)


async def ended_at(client: Client) -> tuple[float, te.Outcome]:
    """Wait for the end of a session, and give its time to the second."""
    outcome = await client.ended()
    return round(trio.current_time(), 0), outcome


async def test_a_request_is_answered_and_the_next_one_too(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(hello)) as world:
        client = await world.connect()
        for _ in range(3):
            assert await ask(client) == (200, b"hello")
        await client.close()
        assert await client.ended() == te.Completed()
        assert trio.current_time() < 1


async def test_the_scope_says_who_asks_and_where(autojump_clock: MockClock) -> None:
    app = Application()
    async with open_edge(edge_of(app, listen="tcp://127.0.0.1:8080")) as world:
        assert (await request(world, "/a%20b?c=d", "X-Field: e"))[0] == 200
    (scope,) = app.scopes
    assert scope["type"] == "http"
    assert (scope["method"], scope["path"], scope["query_string"]) == ("GET", "/a b", b"c=d")
    assert (scope["scheme"], scope["http_version"]) == ("http", "1.1")
    assert scope["client"][0] == "192.0.2.1"
    assert scope["server"] == ("127.0.0.1", 8080)
    assert (b"x-field", b"e") in scope["headers"]
    assert scope["state"] == {"made": "at the start"}


async def test_bytes_are_counted_as_the_client_sees_them(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(digest, te.Identify("shop"))) as world:
        client = await world.connect()
        sent = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
        await client.send(sent)
        await client.finish()
        received = await client.receive_all()
        await client.ended()
        session, shop = client.session, world.edge.services["shop"]
        assert (session.bytes_up, session.bytes_down) == (len(sent), len(received))
        assert (shop.up.bytes, shop.down.bytes) == (len(sent), len(received))
        assert received.startswith(b"HTTP/1.1 200")


async def test_head_and_body_of_a_response_are_one_packet(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(hello)) as world:
        client = await world.connect()
        await client.send(HEAD)
        data = await client.stream.receive_some(65_536)
        assert data.startswith(b"HTTP/1.1 200")
        assert data.endswith(b"hello")


@pytest.mark.parametrize("says", [b"", b"GET / HT", HEAD[:-2]])
async def test_a_client_that_does_not_finish_its_first_request_is_reset(autojump_clock: MockClock, says: bytes) -> None:
    async with open_edge(edge_of(hello)) as world:
        client = await world.connect()
        await client.send(says)
        assert await ended_at(client) == (10, te.Completed(te.Reason.IDLE, "no request within 10 s"))


async def test_a_head_that_drips_wins_no_time(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(hello, head_seconds=4)) as world:
        client = await world.connect()
        with suppress(trio.BrokenResourceError):
            for byte in HEAD[:-2]:
                await client.send(bytes([byte]))
                await trio.sleep(0.5)
        assert 4 <= trio.current_time() <= 5
        assert client.outcome == te.Completed(te.Reason.IDLE, "no request within 4 s")


@pytest.mark.parametrize("says", [b"", b"GET / HT"])
async def test_a_client_that_asks_no_more_is_closed_in_order(autojump_clock: MockClock, says: bytes) -> None:
    async with open_edge(edge_of(hello, te.IdleTimeout(900), keep_alive_seconds=30)) as world:
        client = await world.connect()
        await trio.sleep(5)
        await ask(client)
        await client.send(says)
        assert await client.receive_all() == b""
        assert await ended_at(client) == (35, te.Completed())


async def test_each_request_begins_the_wait_for_the_next_one_anew(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(hello, keep_alive_seconds=30)) as world:
        client = await world.connect()
        for _ in range(5):
            await ask(client)
            await trio.sleep(29)
        assert await ended_at(client) == (5 * 29 + 1, te.Completed())


async def test_a_request_under_way_has_the_idle_limit_of_its_session(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(only(forever), te.IdleTimeout(50))) as world:
        client = await world.connect()
        await client.send(HEAD)
        assert await ended_at(client) == (50, te.Completed(te.Reason.IDLE, "no byte for 50 s"))


async def test_an_answer_that_takes_longer_than_the_keep_alive_limit_comes(autojump_clock: MockClock) -> None:
    async def slow(scope: Message, receive: Receive, send: Send) -> None:
        await trio.sleep(500)
        await hello(scope, receive, send)

    async with open_edge(edge_of(only(slow))) as world:
        assert await request(world) == (200, b"hello")
        assert 500 <= trio.current_time() < 501


async def test_a_client_that_reads_nothing_is_reset(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(only(large), write_seconds=20)) as world:
        client = await world.connect(lockstep=True)
        await client.send(HEAD)
        assert await ended_at(client) == (20, te.Completed(te.Reason.IDLE, "the client took no byte for 20 s"))
        assert client.session.bytes_down == 0


async def test_a_client_that_reads_slowly_gets_everything(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(only(large), write_seconds=20)) as world:
        client = await world.connect(lockstep=True)
        await client.send(HEAD)
        received = 0
        while received < FULL:
            received += len(await client.stream.receive_some(16_384))
            await trio.sleep(15)
        assert trio.current_time() > 150
        assert client.outcome is None


async def test_an_application_is_told_that_its_client_left(autojump_clock: MockClock) -> None:
    told: list[Message] = []

    async def listens(scope: Message, receive: Receive, send: Send) -> None:
        await body_of(receive)
        told.extend([await receive(), await receive()])  # again and again

    async with open_edge(edge_of(only(listens))) as world:
        client = await world.connect()
        await client.send(HEAD)
        await wait_all_tasks_blocked()
        await client.close()
        await client.ended()
        assert told == [{"type": "http.disconnect"}] * 2


async def test_a_stream_to_a_client_that_left_ends(autojump_clock: MockClock) -> None:
    app = Application(events=streams)
    async with open_edge(edge_of(app)) as world:
        with capture_logs() as logs:
            client = await world.connect()
            await client.send(b"GET /events HTTP/1.1\r\nHost: e\r\n\r\n")
            await trio.sleep(3)
            await client.close()
            outcome = await client.ended()
        assert outcome.reason is te.Reason.RESET
        assert trio.current_time() < 6
        assert not [each for each in logs if each["log_level"] == "error"]  # it is no fault of the application


async def test_an_application_that_does_not_notice_that_its_client_left_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    async def deaf(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with suppress(OSError):
            await send({"type": "http.response.body", "body": bytes(FULL), "more_body": True})
        await trio.sleep_forever()

    app = only(deaf)
    async with open_edge(edge_of(app)) as world:
        client = await world.connect(lockstep=True)
        await client.send(HEAD)
        await client.stream.receive_some(1)
        await trio.aclose_forcefully(client.stream)
        outcome = te.Completed(te.Reason.RESET, "the client left before it had its response")
        assert await ended_at(client) == (GONE_SECONDS, outcome)
        assert app.life[-1] == " is cancelled"


async def test_a_client_that_finished_sending_is_waited_for_as_a_half_closed_one(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(only(forever))) as world:
        client = await world.connect()
        await client.send(HEAD)
        await client.finish()
        assert await ended_at(client) == (60, te.Completed(te.Reason.IDLE, "no byte for 60 s"))


async def test_a_client_that_finished_sending_gets_its_answer(autojump_clock: MockClock) -> None:
    async def slow(scope: Message, receive: Receive, send: Send) -> None:
        await trio.sleep(40)
        await answer(send)

    async with open_edge(edge_of(only(slow))) as world:
        client = await world.connect()
        await client.send(HEAD)
        await client.finish()
        assert await response(client.stream) == (200, b"hello")
        assert await ended_at(client) == (40, te.Completed())


async def test_work_behind_the_response_is_done_after_the_client_left(autojump_clock: MockClock) -> None:
    async def works(scope: Message, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await trio.sleep(700)

    app = Application(works=works)
    async with open_edge(edge_of(app)) as world:
        assert await request(world, "/works") == (200, b"hello")
        await trio.sleep(800)
        assert app.life[-1] == "works ends"
        assert world.edge.statistics().ended == {te.Reason.FINISHED: 1}


async def test_a_fault_before_the_response_is_a_500_and_logged_once(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(only(breaks))) as world:
        with capture_logs() as logs:
            client = await world.connect()
            assert await ask(client, "/secret?token=hidden", "Authorization: hidden") == (500, b"")
            assert await client.receive_all() == b""
            assert await client.ended() == te.Completed(te.Reason.FAULT, "LookupError('as told')")
        (line,) = [each for each in logs if each["log_level"] == "error"]
        assert line["event"] == "application failed"
        assert "hidden" not in repr(line)
        assert await request(world) == (500, b"")  # the next session is served


async def test_a_fault_amid_the_response_cuts_the_session(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(only(breaks_midway))) as world:
        client = await world.connect()
        await client.send(HEAD)
        data = await client.receive_all()
        assert data.endswith(b"4\r\nhalf\r\n")  # and no last chunk
        assert await client.ended() == te.Completed(te.Reason.FAULT, "LookupError('as told')")


async def test_an_application_that_returns_without_an_answer_is_a_fault(autojump_clock: MockClock) -> None:
    async def mute(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async with open_edge(edge_of(only(mute))) as world:
        client = await world.connect()
        assert await ask(client) == (500, b"")
        outcome = await client.ended()
        assert outcome.reason is te.Reason.FAULT
        assert "returned before its response was complete" in outcome.detail


async def test_an_early_answer_to_a_long_upload_arrives_and_ends_the_session(autojump_clock: MockClock) -> None:
    async def refuses(scope: Message, receive: Receive, send: Send) -> None:
        await answer(send, b"too much", 413)

    async with open_edge(edge_of(only(refuses))) as world, trio.open_nursery() as nursery:
        client = await world.connect(lockstep=True)

        async def upload() -> None:
            head = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 100000000\r\n\r\n"
            with pytest.raises(trio.BrokenResourceError):
                await client.send(head + bytes(100_000_000))

        nursery.start_soon(upload)
        assert await response(client.stream) == (413, b"too much")
        await client.ended()
        assert trio.current_time() < 100


@pytest.mark.parametrize("says", [b"no request\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"])
async def test_a_bad_request_is_answered_by_400(autojump_clock: MockClock, says: bytes) -> None:
    async with open_edge(edge_of(hello)) as world:
        with capture_logs() as logs:
            client = await world.connect()
            await client.send(says)
            assert (await response(client.stream))[0] == 400
            assert await client.receive_all() == b""
            assert await client.ended() == te.Completed()
        assert not [each for each in logs if each["log_level"] in ("warning", "error")]


@pytest.mark.parametrize("size", [20_000, 60_000, 300_000])
async def test_a_head_beyond_its_bound_is_answered_by_431(autojump_clock: MockClock, size: int) -> None:
    app = Application()
    async with open_edge(edge_of(app)) as world, trio.open_nursery() as nursery:
        client = await world.connect()
        nursery.start_soon(client.send, b"GET / HTTP/1.1\r\nHost: e\r\nX-Large: " + b"x" * size + b"\r\n\r\n")
        assert (await response(client.stream))[0] == 431
        await client.close()
        await client.ended()
    assert not app.scopes


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"CONNECT inside.example:22 HTTP/1.1\r\nHost: inside.example:22\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n", 400),
    ],
)
async def test_a_request_that_no_application_may_see_is_refused_and_the_connection_closed(
    autojump_clock: MockClock, head: bytes, status: int
) -> None:
    app = Application()
    with capture_logs() as logs:
        async with open_edge(edge_of(app)) as world:
            client = await world.connect()
            await client.send(head + b"\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: e\r\n\r\n")
            assert (await response(client.stream))[0] == status
            assert await client.receive_all() == b""
            assert await client.ended() == te.Completed()
    assert not app.scopes
    assert not [each for each in logs if each["log_level"] in ("warning", "error")]


async def test_an_eviction_ends_a_request_at_once(autojump_clock: MockClock) -> None:
    app = Application(forever=forever)
    async with open_edge(edge_of(app)) as world:
        client = await world.connect()
        await client.send(b"GET /forever HTTP/1.1\r\nHost: e\r\n\r\n")
        await wait_all_tasks_blocked()
        assert world.edge.evict(source="192.0.2.1") == 1
        assert await client.ended() == te.Completed(te.Reason.EVICTED)
        assert trio.current_time() == 0
        assert app.life[-1] == "forever is cancelled"


async def test_an_eviction_ends_a_response_that_the_client_does_not_read(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(only(large))) as world:
        client = await world.connect(lockstep=True)
        await client.send(HEAD)
        await wait_all_tasks_blocked()
        world.edge.evict(source="192.0.2.1")
        assert await client.ended() == te.Completed(te.Reason.EVICTED)
        assert trio.current_time() == 0


async def test_a_timeout_of_the_application_around_a_send_cuts_no_frame(autojump_clock: MockClock) -> None:
    async def impatient(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"40000")]})
        with trio.move_on_after(5):
            await send({"type": "http.response.body", "body": b"a" * 20_000, "more_body": True})
        await send({"type": "http.response.body", "body": b"b" * 20_000})

    async with open_edge(edge_of(only(impatient))) as world:
        client = await world.connect(lockstep=True)
        await client.send(HEAD)
        await trio.sleep(10)
        assert await response(client.stream) == (200, b"a" * 20_000 + b"b" * 20_000)


async def test_pipelined_requests_are_answered_in_their_order(autojump_clock: MockClock) -> None:
    async def names(scope: Message, receive: Receive, send: Send) -> None:
        await answer(send, scope["path"].encode())

    async with open_edge(edge_of(only(names))) as world:
        client = await world.connect()
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: e\r\n\r\n" % number for number in range(5)))
        assert [await response(client.stream) for _ in range(5)] == [(200, b"/%d" % number) for number in range(5)]
