"""The life of an application: its start, its end, and applications that have none."""

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

import trioedge as te
from tests.support.applications import Application, Message, Receive, Send, edge_of, hello, request
from tests.support.cancels import cancel_at_every_step, left_open
from trioedge.endpoints.asgi.lifespan import STOP_SECONDS, Lifespan
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import open_edge


async def failing(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    traceback = 'Traceback (most recent call last):\n  File "app.py", line 1\nOSError: no database\n'
    await send({"type": "lifespan.startup.failed", "message": traceback})
    raise OSError("no database")


async def start_of(app: object) -> str:
    """Give the message with which an edge in front of `app` does not start."""
    with pytest.RaisesGroup(te.ConfigurationError, flatten_subgroups=True) as refusal:
        async with open_edge(edge_of(app)):
            raise AssertionError("it started")
    fault: BaseException = refusal.value
    while isinstance(fault, BaseExceptionGroup):
        (fault,) = fault.exceptions
    return str(fault)


async def test_a_start_that_fails_is_one_clear_line_and_no_edge(autojump_clock: MockClock) -> None:
    assert await start_of(failing) == "Asgi: the application's startup failed: OSError: no database"


async def test_a_start_that_fails_without_a_reason_says_so(autojump_clock: MockClock) -> None:
    async def terse(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed"})
        await trio.sleep_forever()

    assert await start_of(terse) == "Asgi: the application's startup failed: it gave no reason"


async def test_the_edge_is_not_there_before_the_application(autojump_clock: MockClock) -> None:
    class Slow(Application):
        async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await trio.sleep(90)
            await super().__call__(scope, receive, send)

    async with open_edge(edge_of(Slow())) as world:
        assert trio.current_time() >= 90
        assert await request(world) == (200, b"hello")


async def test_an_application_is_shut_down_behind_its_last_session(autojump_clock: MockClock) -> None:
    async def ends_slowly(scope: Message, receive: Receive, send: Send) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            app.life.append("cleaned up")

    app = Application(ends_slowly)
    async with open_edge(edge_of(app)) as world:
        client = await world.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: e\r\n\r\n")
        await wait_all_tasks_blocked()
    assert app.life[-3:] == ["cleaned up", " is cancelled", "shutdown"]


@pytest.mark.parametrize("event", ["raises at once", "raises once asked", "returns", "sends nonsense"])
async def test_an_application_without_a_lifespan_is_served_all_the_same(autojump_clock: MockClock, event: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await hello(scope, receive, send)
            return
        if event == "returns":
            return
        if event != "raises at once":
            await receive()
        if event == "sends nonsense":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("path")

    with capture_logs() as logs:
        async with open_edge(edge_of(app)) as world:
            assert await request(world) == (200, b"hello")
    warned = [each["event"] for each in logs if each["log_level"] == "warning"]
    assert warned == (["application has no lifespan"] if event in ("raises once asked", "sends nonsense") else [])


async def test_a_lifespan_that_fails_later_is_logged_and_the_edge_serves_on(autojump_clock: MockClock) -> None:
    class Fails(Application):
        async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                raise OSError("lost")
            await super().__call__(scope, receive, send)

    with capture_logs() as logs:
        async with open_edge(edge_of(Fails())) as world:
            await wait_all_tasks_blocked()
            assert await request(world) == (200, b"hello")
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["lifespan of the application failed"]


async def test_a_shutdown_that_never_ends_is_cancelled(autojump_clock: MockClock) -> None:
    async def lingers(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "stuck"})
        await receive()  # there is no third one

    with capture_logs() as logs:
        async with open_edge(edge_of(lingers)):
            pass
    assert trio.current_time() == STOP_SECONDS
    warned = [each["event"] for each in logs if each["log_level"] == "warning"]
    assert warned == ["application's shutdown failed", "application did not shut down"]


async def test_a_cancel_at_any_step_leaves_no_task(autojump_clock: MockClock) -> None:
    async def whole() -> None:
        async with trio.open_nursery() as nursery:
            lifespan = Lifespan(Application(), EdgeLog())
            await lifespan.start(nursery)
            try:
                await trio.sleep(1)
            finally:
                with trio.CancelScope(shield=True):
                    await lifespan.stop()

    before = left_open()

    def check() -> None:
        assert left_open() == before

    assert await cancel_at_every_step(whole, check) > 2
