"""The recipe of an application: its arguments, and its place in an edge."""

from typing import Any

import pytest
from trio.testing import MockClock

import trioedge as te
from tests.support.applications import Application, Message, Receive, Send, edge_of, hello, request
from trioedge.testing import check_endpoint, open_edge


class Callable3:
    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        raise NotImplementedError


def wsgi(environ: object, start_response: object) -> object:
    raise NotImplementedError


@pytest.mark.parametrize("app", [hello, Application(), Callable3()])
def test_an_application_is_a_function_or_an_object_that_is_called(app: Any) -> None:
    assert te.Asgi(app).app is app


@pytest.mark.parametrize(
    ("app", "fault"),
    [
        (None, "is no application: pass an object that is called with scope, receive, send"),
        ("no_such_shop:app", """cannot be imported: ModuleNotFoundError("No module named 'no_such_shop'")"""),
        ("shop", "must be an application, or where it is: 'module:name'"),
        (
            "asyncio:no_such_name",
            "cannot be imported: AttributeError(\"module 'asyncio' has no attribute 'no_such_name'\")",
        ),
        (Callable3, "is a class: write Callable3(), the application itself"),
        (wsgi, "must take scope, receive and send, as ASGI 3 applications do; one of WSGI needs an adapter"),
    ],
)
def test_any_other_object_is_refused_with_the_mend(app: Any, fault: str) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        te.Asgi(app)
    assert str(refusal.value).endswith(fault)


def test_a_coroutine_is_refused_and_closed() -> None:
    with pytest.raises(te.ConfigurationError, match="is a coroutine, already called"):
        te.Asgi(hello({}, None, None))  # type: ignore[arg-type]  # a warning would say that it was not awaited


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"head_seconds": 0}, "Asgi(head_seconds=0) must be a number above 0"),
        ({"keep_alive_seconds": -1}, "Asgi(keep_alive_seconds=-1) must be a number above 0"),
        ({"write_seconds": "9"}, "Asgi(write_seconds='9') must be a number above 0"),
        ({"max_head_bytes": 100}, "Asgi(max_head_bytes=100) must be a whole number from 1024 to 65536"),
    ],
)
def test_a_limit_out_of_bounds_is_refused(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        te.Asgi(hello, **arguments)
    assert str(refusal.value) == fault


def test_it_names_the_application_and_cannot_be_changed() -> None:
    endpoint = te.Asgi(hello)
    assert repr(endpoint) == "Asgi(hello)"
    with pytest.raises(AttributeError, match=r"Asgi\.app cannot be set"):
        endpoint.app = Callable3()


def test_stages_that_limit_bytes_may_stand_before_it() -> None:
    edge_of(hello, te.Pacing(down_rate="1 MB/s"), te.IdleTimeout(60))


async def test_one_recipe_serves_again_and_in_two_edges(autojump_clock: MockClock) -> None:
    app = Application()
    endpoint = te.Asgi(app)
    for _ in range(2):
        edges = [te.Edge("tcp://127.0.0.1:0", [], endpoint) for _ in range(2)]
        async with open_edge(edges[0]) as one, open_edge(edges[1]) as two:
            assert await request(one) == (200, b"hello")
            assert await request(two) == (200, b"hello")
    assert app.life.count("startup") == app.life.count("shutdown") == 4


async def test_it_is_a_good_endpoint(autojump_clock: MockClock) -> None:
    await check_endpoint(te.Asgi(hello), client_says=b"GET / HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
    await check_endpoint(te.Asgi(Application()), client_says=b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n")


async def test_it_is_a_good_endpoint_for_bodies_that_take_steps(autojump_clock: MockClock) -> None:
    says = b"POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 70000\r\n\r\n" + bytes(70_000)
    await check_endpoint(te.Asgi(hello), client_says=says)


async def test_it_is_a_good_endpoint_for_bad_requests(autojump_clock: MockClock) -> None:
    await check_endpoint(te.Asgi(hello), client_says=b"no request\r\n\r\n")
