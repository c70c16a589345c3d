"""A user's outbound: each kind of connection that it may return, and each way in which it may fail."""

import errno
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.open_files import open_files
from tests.support.ports import closed_port
from tests.support.wires import receive_exactly, server, tcp_pair
from trioedge.addresses.address import Address, parse_address
from trioedge.relay.streams import PlainStream, ReplayStream
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_context
from trioedge.upstreams.connector import Connector, Permit, Target
from trioedge.upstreams.direct import Direct
from trioedge.upstreams.outbound import TaskConnector, as_stream, check_outbound, open_outbound, with_scopes
from trioedge.upstreams.resolver import Answer, local_answer

WHERE = parse_address("tcp://192.0.2.9:80")

Connect = Callable[[Address], Coroutine[Any, Any, Any]]


class Way:
    """An outbound whose `connect` is the test's."""

    def __init__(self, connect: Connect) -> None:
        self.connect = connect

    def __repr__(self) -> str:
        return "Way()"


class Names:
    """A resolver that answers at once, or never, and notes what it is asked."""

    def __init__(self, *, silent: bool = False) -> None:
        self.asked: list[Address] = []
        self.askers: list[object] = []
        self._silent = silent

    def fresh_until(self, address: Address) -> float:
        raise NotImplementedError

    def ask(self, address: Address, on_answer: Callable[[Any], object], asker: object = None) -> None:
        self.asked.append(address)
        self.askers.append(asker)
        if not self._silent:
            on_answer(local_answer(address))


def task_connector(connect: Connect, names: Names | None = None) -> TaskConnector:
    return TaskConnector(Way(connect), names or Names(), EdgeLog())


async def open_stream(connect: Connect, permit: Permit | None = None) -> trio.abc.HalfCloseableStream:
    return await task_connector(connect).open_stream(Target(WHERE, 5.0, permit, retries=0))


# What is an outbound.


class WithoutConnect:
    pass


class ConnectsNow:
    def connect(self, address: Address) -> socket.socket:
        raise AssertionError


@pytest.mark.parametrize(
    ("outbound", "message"),
    [
        (Direct, r"outbound is a class, not an outbound: call it, Direct\(\.\.\.\)"),
        ("tcp://proxy:1", "outbound = 'tcp://proxy:1' is no outbound: it needs async connect"),
        (WithoutConnect(), "is no outbound: it needs async connect"),
        (ConnectsNow(), r"connect\(\) is not async: write async def connect"),
        (socket.socket, "is a class, not an outbound"),
    ],
)
def test_what_is_no_outbound_is_refused_with_the_mend(outbound: object, message: str) -> None:
    with pytest.raises(te.ConfigurationError, match=message):
        check_outbound(outbound, "outbound")


def test_a_socket_is_no_outbound() -> None:
    with socket.socket() as sock, pytest.raises(te.ConfigurationError, match="is not async"):
        check_outbound(sock, "outbound")


async def connects(address: Address) -> Any:
    raise AssertionError


@pytest.mark.parametrize("outbound", [Direct(), Way(connects)])
def test_a_recipe_and_an_object_with_an_async_connect_are_outbounds(outbound: object) -> None:
    check_outbound(outbound, "outbound")


class Recipe:
    def __init__(self, live: object) -> None:
        self._live = live

    def open(self, context: te.EdgeContext) -> object:
        return self._live


def test_a_recipe_is_opened_and_an_outbound_that_waits_connects_in_a_task() -> None:
    context = make_context()
    assert isinstance(open_outbound(Direct(), context), Connector)
    way = Way(connects)
    for outbound in (way, Recipe(way)):
        live = open_outbound(outbound, context)
        assert isinstance(live, TaskConnector)
        assert live.outbound is way
        assert not live.plain


class Closable:
    """What a recipe opened by mistake."""

    closed = False

    def close(self) -> None:
        self.closed = True


class ClosableConnectsNow(Closable, ConnectsNow):
    pass


@pytest.mark.parametrize(
    ("live", "message"), [(Closable(), r"open\(\) returned"), (ClosableConnectsNow(), "is not async")]
)
def test_a_recipe_that_opens_no_outbound_is_refused_and_its_object_closed(live: Closable, message: str) -> None:
    with pytest.raises(te.ConfigurationError, match=message):
        open_outbound(Recipe(live), make_context())
    assert live.closed


def test_a_recipe_whose_open_is_async_is_refused() -> None:
    class Late:
        async def open(self, context: te.EdgeContext) -> object:
            return Way(connects)

    with pytest.raises(te.ConfigurationError, match=r"open\(\) returned <coroutine"):
        open_outbound(Late(), make_context())


async def test_an_outbound_that_waits_prepares_nothing_and_starts_no_plain_socket() -> None:
    names = Names()
    connector = task_connector(connects, names)
    connector.warm(Target(WHERE, 5.0), lambda error: pytest.fail(str(error)))
    assert names.asked == []
    with pytest.raises(RuntimeError, match="connects in a task"):
        connector.start(Target(WHERE, 5.0), None)  # type: ignore[arg-type]


# What it may return.


def local_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def blocking_pair() -> tuple[socket.socket, socket.socket]:
    near, far = tcp_pair()
    near.setblocking(True)
    return near, far


@pytest.mark.parametrize("pair", [tcp_pair, blocking_pair, local_pair])
@pytest.mark.parametrize("kind", ["socket", "socket of trio", "stream of trio"])
async def test_a_connected_socket_becomes_a_plain_stream(
    pair: Callable[[], tuple[socket.socket, socket.socket]], kind: str
) -> None:
    near, far = pair()
    given: Any = near
    if kind != "socket":
        near.setblocking(False)
        given = trio.socket.from_stdlib_socket(near)
    if kind == "stream of trio":
        given = trio.SocketStream(given)
    files = open_files()
    stream = as_stream(given, "it returned")
    assert isinstance(stream, PlainStream)
    assert (stream.socket.getblocking(), stream.socket.family) == (False, far.family)
    assert open_files() == files
    await stream.send_all(b"ping")
    assert far.recv(4) == b"ping"
    await stream.aclose()
    assert (far.recv(1), near.fileno()) == (b"", -1)
    far.close()


@pytest.mark.parametrize("make", [lambda inner: inner, ReplayStream, lambda inner: trio.StapledStream(inner, inner)])
async def test_a_stream_is_used_as_it_is(make: Callable[[Any], Any]) -> None:
    stream = make(trio.testing.memory_stream_pair()[0])
    assert as_stream(stream, "it returned") is stream


async def test_a_stream_without_a_half_close_is_one_too() -> None:
    stream = trio.SSLStream(trio.testing.memory_stream_pair()[0], ssl.create_default_context(), server_hostname="x")
    assert as_stream(stream, "it returned") is stream  # type: ignore[comparison-overlap]


def closed_socket() -> socket.socket:
    near, far = tcp_pair()
    near.close()
    far.close()
    return near


def closed_trio_socket() -> Any:
    sock = trio.socket.from_stdlib_socket(socket.socket())
    sock.close()
    return sock


def tls_socket() -> socket.socket:
    return ssl.create_default_context().wrap_socket(socket.socket(), server_hostname="x", do_handshake_on_connect=False)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (closed_socket, "a closed socket"),
        (closed_trio_socket, "a closed socket"),
        (lambda: trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket())), "a socket that is not connected"),
        (socket.socket, "a socket that is not connected"),
        (lambda: socket.create_server(("127.0.0.1", 0)), "a socket that is not connected"),
        (lambda: socket.socket(type=socket.SOCK_DGRAM), "a socket that is no stream"),
        (lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), "a socket that is no stream"),
        (tls_socket, "a socket with TLS.*use trio.SSLStream"),
        (lambda: None, "None"),
        (lambda: 7, "7"),
        (lambda: "tcp://192.0.2.1:80", "'tcp://192.0.2.1:80'"),
        (lambda: trio.SocketStream, "<class 'trio.SocketStream'>"),
        (object, "<object object at"),
    ],
)
async def test_anything_else_is_a_fault_with_the_mend_and_is_closed(make: Callable[[], Any], fault: str) -> None:
    files = open_files()

    async def connect(address: Address) -> Any:
        await trio.lowlevel.checkpoint()
        return make()

    with pytest.raises(te.UpstreamError, match=f"{fault}.*: it must be a connected socket or a stream") as raised:
        await open_stream(connect)
    assert raised.value.reason is te.Reason.FAULT
    assert raised.value.detail.startswith("tcp://192.0.2.9:80: Way() returned ")
    assert open_files() == files


async def test_a_process_without_file_descriptors_cannot_take_a_socket_of_trio_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dup(fd: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    near, far = tcp_pair()
    monkeypatch.setattr(os, "dup", dup)
    with pytest.raises(te.UpstreamError, match="Too many open files") as raised:
        as_stream(trio.socket.from_stdlib_socket(near), "it returned")
    assert raised.value.reason is te.Reason.OVERLOAD
    assert near.fileno() == -1
    far.close()


# How it may fail.


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "upstream_refused", "Connection refused"),
        (ConnectionRefusedError(), "upstream_refused", "Connection refused"),
        (OSError(errno.ETIMEDOUT, "x"), "upstream_timeout", "Connection timed out"),
        (TimeoutError("the proxy is slow"), "upstream_timeout", "the proxy is slow"),
        (trio.TooSlowError(), "upstream_timeout", "Connection timed out"),
        (OSError(errno.ENETUNREACH, "x"), "upstream_unreachable", "Network is unreachable"),
        (OSError(errno.EMFILE, "x"), "overload", "Too many open files"),
        (OSError("the proxy says no"), "upstream_unreachable", "the proxy says no"),
        (OSError(), "upstream_unreachable", "No route to host"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "upstream_unresolved", "Name or service"),
        (te.UpstreamError(te.Reason.UPSTREAM_FORBIDDEN, "not there"), "upstream_forbidden", "not there"),
    ],
)
async def test_an_error_of_the_connect_has_the_reason_of_its_number(error: Exception, reason: str, detail: str) -> None:
    async def connect(address: Address) -> Any:
        raise error

    with capture_logs() as logs, pytest.raises(te.UpstreamError) as raised:
        await open_stream(connect)
    assert (raised.value.reason, detail in raised.value.detail) == (reason, True)
    assert logs == []


def to_itself() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.connect(sock.getsockname())
    return sock


async def test_a_socket_that_is_connected_to_itself_is_refused_and_closed() -> None:
    sock = to_itself()
    with pytest.raises(te.UpstreamError, match="it returned a socket that is connected to itself") as raised:
        as_stream(sock, "it returned")
    assert (raised.value.reason, sock.fileno()) == (te.Reason.UPSTREAM_REFUSED, -1)


def test_interfaces_of_an_answer_become_numbers() -> None:
    number = socket.if_nametoindex("lo")
    where = parse_address("tcp://db.test:80")
    four, local = (socket.AF_INET, ("192.0.2.1", 80)), (socket.AF_UNIX, "/run/a%b.sock")
    assert with_scopes((four,), where) == (four,)
    answer = with_scopes(((socket.AF_INET6, ("fe80::1%lo", 80)), four, local), where)
    assert answer == ((socket.AF_INET6, ("fe80::1", 80, 0, number)), four, local)
    error = with_scopes(((socket.AF_INET6, ("fe80::1%eth987", 80)),), where)
    assert isinstance(error, te.UpstreamError)
    assert error.detail == "tcp://db.test:80: this machine has no interface 'eth987'"
    assert with_scopes(error, where) is error


async def test_the_error_of_open_tcp_stream_has_the_reason_of_its_cause() -> None:
    async def connect(address: Address) -> Any:
        return await trio.open_tcp_stream("127.0.0.1", closed_port())

    with pytest.raises(te.UpstreamError, match=r"tcp://192\.0\.2\.9:80: Connection refused") as raised:
        await open_stream(connect)
    assert raised.value.reason is te.Reason.UPSTREAM_REFUSED


async def test_any_other_exception_is_a_fault_with_its_traceback_in_the_log() -> None:
    async def connect(address: Address) -> Any:
        raise LookupError("bug")

    with capture_logs() as logs, pytest.raises(te.UpstreamError, match=r"LookupError\('bug'\)") as raised:
        await open_stream(connect)
    assert raised.value.reason is te.Reason.FAULT
    assert [(entry["event"], entry["upstream"], type(entry["exc_info"])) for entry in logs] == [
        ("outbound failed", "tcp://192.0.2.9:80", LookupError)
    ]


async def test_a_connect_without_an_end_is_cancelled_at_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    cancelled: list[float] = []

    async def connect(address: Address) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    with pytest.raises(te.UpstreamError, match="no connection in time") as raised:
        await open_stream(connect)
    assert (raised.value.reason, cancelled) == (te.Reason.UPSTREAM_TIMEOUT, [5.0])


async def test_a_connection_that_comes_with_the_limit_is_used(autojump_clock: trio.testing.MockClock) -> None:
    stream = trio.testing.memory_stream_pair()[0]

    async def connect(address: Address) -> Any:
        with trio.CancelScope(shield=True):
            await trio.sleep(6)
        return stream

    assert await open_stream(connect) is stream


# Addresses that may not be connected to.


def only_public(address: Address, answer: Answer) -> Answer:
    if isinstance(answer, te.UpstreamError) or str(answer[0][1]).startswith("('192.0.2."):
        return answer
    return te.UpstreamError(te.Reason.UPSTREAM_FORBIDDEN, f"{address}: not there")


async def test_an_address_is_permitted_before_the_outbound_connects() -> None:
    asked: list[Address] = []
    stream = trio.testing.memory_stream_pair()[0]

    async def connect(address: Address) -> Any:
        asked.append(address)
        await trio.lowlevel.checkpoint()
        return stream

    connector = task_connector(connect)
    assert await connector.open_stream(Target(WHERE, 5.0, only_public)) is stream
    with pytest.raises(te.UpstreamError, match="not there"):
        await connector.open_stream(Target(parse_address("tcp://10.0.0.1:80"), 5.0, only_public))
    assert asked == [WHERE]


async def test_a_name_is_asked_for_as_the_target_says_so_that_services_share_the_queries() -> None:
    names = Names()
    connector = task_connector(connects, names)
    for service in ("shop", "cafe"):
        with pytest.raises(te.UpstreamError, match="not there"):
            await connector.open_stream(Target(parse_address("tcp://10.0.0.1:80"), 5.0, only_public, asker=service))
    assert names.askers == ["shop", "cafe"]


async def test_without_a_permit_the_name_is_left_to_the_outbound() -> None:
    names = Names()
    stream = trio.testing.memory_stream_pair()[0]

    async def connect(address: Address) -> Any:
        await trio.lowlevel.checkpoint()
        return stream

    connector = task_connector(connect, names)
    assert await connector.open_stream(Target(parse_address("tcp://name.test:80"), 5.0)) is stream
    assert names.asked == []


async def test_a_name_without_an_answer_takes_the_limit_of_the_connect_and_no_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    connector = task_connector(connects, Names(silent=True))
    with pytest.raises(te.UpstreamError, match="no connection in time"):
        await connector.open_stream(Target(parse_address("tcp://name.test:80"), 5.0, only_public))
    assert trio.current_time() == 5.0


@pytest.mark.parametrize("kind", ["socket", "stream of trio"])
async def test_a_connect_that_is_cancelled_before_any_step_leaves_nothing_open(kind: str) -> None:
    connected: list[bool] = []

    async def live() -> None:
        async with server() as port:

            async def connect(address: Address) -> Any:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                if kind == "stream of trio":
                    return stream
                sock = socket.socket(fileno=os.dup(stream.socket.fileno()))
                stream.socket.close()
                return sock

            stream = await open_stream(connect, only_public)
            connected.append(True)
            try:
                await stream.send_all(b"ping")
                assert await receive_exactly(stream, 4) == b"ping"
            finally:
                await trio.aclose_forcefully(stream)

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    cancels = await cancel_at_every_step(live, check)
    assert 1 < len(connected) < cancels
