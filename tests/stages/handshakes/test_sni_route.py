"""Routes by server name: which one is taken, what each refusal says to the client, and the faults of routes."""

from typing import Any

import pytest
import trio.testing

import trioedge as te
from tests.support.governed import Governed
from tests.support.hellos import body, client_hello, message, name_extension, records
from trioedge.errors import ConfigurationError
from trioedge.testing import ScriptedUpstream, check_handshake, converse, make_session, open_edge

ROUTES = {
    "a.example": "tcp://192.0.2.1:443",
    "*.b.example": "tcp://192.0.2.2:443",
    "x.b.example": "tcp://[2001:db8::1]:443",
    "Upper.Example.": "unix:///run/upper.sock",
    "tenant.example": "shop",
}
ROUTE = te.SniRoute(ROUTES)
UNKNOWN, MISSING, UNREADABLE, FAILURE = (b"\x15\3\1\0\2\2" + bytes([alert]) for alert in (112, 109, 50, 40))


def named(name: str | None) -> bytes:
    return client_hello(name, ["h2"])


def goes_to(route: te.SniRoute, hello: bytes) -> str | None:
    """Give where a hello leads; every byte of it is left for the upstream."""
    session = make_session()
    done = converse(route, session, hello)
    assert (done.verdict, done.sent, done.left, done.proceeded) == (te.CONTINUE, b"", hello, False)
    return session.destination or session.service.name


# Routes.


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("a.example", "tcp://192.0.2.1:443"),
        ("A.Example", "tcp://192.0.2.1:443"),
        ("y.b.example", "tcp://192.0.2.2:443"),
        ("x.b.example", "tcp://[2001:db8::1]:443"),
        ("upper.example", "unix:///run/upper.sock"),
        ("tenant.example", "shop"),
    ],
)
def test_the_name_itself_is_looked_for_first_and_then_a_wildcard(name: str, to: str) -> None:
    assert goes_to(ROUTE, named(name)) == to


@pytest.mark.parametrize("name", ["b.example", "z.y.b.example", "c.example", "a.example.evil.test", None])
def test_any_other_name_and_no_name_take_the_default(name: str | None) -> None:
    assert goes_to(te.SniRoute(ROUTES, default="tcp://192.0.2.9:443"), named(name)) == "tcp://192.0.2.9:443"
    assert goes_to(te.SniRoute(ROUTES, default="rest"), named(name)) == "rest"
    assert goes_to(te.SniRoute({}, default="rest"), named(name)) == "rest"


def test_a_dot_at_the_end_of_a_name_changes_nothing() -> None:
    assert goes_to(ROUTE, records(message(body(name_extension(b"a.example."))))) == "tcp://192.0.2.1:443"


@pytest.mark.parametrize("sizes", [(1,), (2, 7), (16_384,)])
def test_a_hello_that_comes_byte_by_byte_in_any_records_is_routed_and_left_whole(sizes: tuple[int, ...]) -> None:
    hello = records(named("a.example")[5:], sizes)
    session = make_session()
    done = converse(ROUTE, session, *(hello[at : at + 1] for at in range(len(hello))), b"more")
    assert (done.verdict, done.sent, done.left) == (te.CONTINUE, b"", hello + b"more")
    assert session.destination == "tcp://192.0.2.1:443"


def test_it_does_the_same_however_the_bytes_arrive() -> None:
    check_handshake(ROUTE, [named("a.example"), records(named("y.b.example")[5:], [90])])


def test_the_hello_is_there_for_decisions_behind() -> None:
    session = make_session()
    converse(ROUTE, session, named("a.example"))
    assert session.state[te.ClientHello] == te.ClientHello("a.example", (b"h2",))


# Refusals.


@pytest.mark.parametrize(
    ("sent", "refusal", "words"),
    [
        (named("c.example"), te.Reject(te.Reason.SERVICE, "no route for c.example"), UNKNOWN),
        (named(None), te.Reject(te.Reason.SERVICE, "the client names no host"), MISSING),
        (b"GET / HTTP/1.1\r\n", te.Reject(te.Reason.PROTOCOL, "TLS hello: the bytes are not TLS"), b""),
        (b"\x80\x2e\1\3\1", te.Reject(te.Reason.PROTOCOL, "TLS hello: the bytes are not TLS"), b""),
        (b"\x15\3\1\0\2\2\x28", te.Reject(te.Reason.PROTOCOL, "TLS hello: it begins with an alert"), b""),
        (
            b"\x16\3\1\xff\xff\1\0\xff\xfb",
            te.Reject(te.Reason.PROTOCOL, "TLS hello: it has more than 16,384 bytes"),
            UNREADABLE,
        ),
        (
            records(message(body(name_extension(b"192.0.2.7")))),
            te.Reject(te.Reason.PROTOCOL, "TLS hello: its server name is no host name"),
            UNKNOWN,
        ),
    ],
)
def test_a_client_is_refused_in_the_words_of_tls(sent: bytes, refusal: te.Reject, words: bytes) -> None:
    done = converse(ROUTE, make_session(), sent)
    assert (done.verdict, done.sent, done.left) == (refusal, words, sent)
    check_handshake(ROUTE, [sent])


def test_half_a_hello_is_waited_for() -> None:
    assert converse(ROUTE, make_session(), named("a.example")[:-1]).verdict is None


def test_a_service_that_is_unknown_disabled_or_full_is_refused_with_its_own_alert() -> None:
    world = Governed()
    route = te.SniRoute({"a.example": "gone", "b.example": "off", "c.example": "full"})
    world.put("off", enabled=False)
    full = world.put("full", max_sessions=1)
    full.live = 1
    for name, reason, words in (
        ("a.example", te.Reason.SERVICE, UNKNOWN),
        ("b.example", te.Reason.SERVICE, UNKNOWN),
        ("c.example", te.Reason.CONCURRENCY, FAILURE),
    ):
        done = converse(route, world.session(), named(name))
        assert isinstance(done.verdict, te.Reject)
        assert (done.verdict.reason, done.sent) == (reason, words)


# In an edge.


async def test_the_upstream_gets_the_hello_first(autojump_clock: trio.testing.MockClock) -> None:
    upstream = ScriptedUpstream()
    made = te.Edge("tcp://127.0.0.1:6380", [te.SniRoute({"a.example": "tcp://8.8.8.8:443"})], te.Forward())
    async with open_edge(made, upstream) as world:
        client = await world.connect()
        hello = named("a.example")
        await client.send(hello[:200])
        await client.send(hello[200:])
        assert await client.receive(len(hello)) == hello  # the upstream of a rehearsal echoes
    assert [str(address) for address in upstream.asked] == ["tcp://8.8.8.8:443"]


async def test_half_a_hello_ends_with_the_reason_handshake_after_ten_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    made = te.Edge("tcp://127.0.0.1:6380", [ROUTE], te.Forward())
    async with open_edge(made) as world:
        client = await world.connect()
        await client.send(named("a.example")[:100])
        began = trio.current_time()
        outcome = await client.ended()
        assert isinstance(outcome, te.Reject)
        assert outcome.reason is te.Reason.HANDSHAKE
        assert trio.current_time() - began == pytest.approx(10.0)


# Its arguments.


def test_what_it_provides_follows_from_its_routes() -> None:
    assert ROUTE.provides == ("destination", "service")
    assert te.SniRoute({"a.example": "tcp://192.0.2.1:1"}).provides == ("destination",)
    assert te.SniRoute({"a.example": "shop"}).provides == ("service",)
    assert te.SniRoute({"a.example": "shop"}, default="unix:///run/x.sock").provides == ("destination", "service")


def test_it_prints_how_many_routes_it_has() -> None:
    assert repr(ROUTE) == "SniRoute(5 routes)"
    assert repr(te.SniRoute({"a.example": "shop"})) == "SniRoute(1 route)"
    assert repr(te.SniRoute(ROUTES, default="shop")) == "SniRoute(5 routes, default='shop')"


@pytest.mark.parametrize(
    "name",
    ["", "*", "*.", "a.*.example", "*a.example", "**.example", "a..b", "192.0.2.7", "*.7", "::1", "a:443", 5, None],
)
def test_a_key_that_is_no_server_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        te.SniRoute({name: "shop"})
    assert str(refusal.value) == f"SniRoute[{name!r}] is no server name, as in 'a.example' or '*.example'"


def test_a_name_with_other_letters_is_written_as_clients_send_it() -> None:
    with pytest.raises(ConfigurationError, match=r"must be written as clients send it: 'xn--bcher-kva\.example'"):
        te.SniRoute({"bücher.example": "shop"})


def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"SniRoute\['A\.example'\] is there twice"):
        te.SniRoute({"a.example": "shop", "A.example": "blog"})


@pytest.mark.parametrize(
    ("to", "fault"),
    [
        ("tcp://192.0.2.1", "names no port"),
        ("http://192.0.2.1:80", "must begin with tcp:// or unix://"),
        ("", "must be a destination"),
        ("x" * 256, "must be a destination"),
        (None, "must be a destination"),
    ],
)
def test_a_route_that_leads_nowhere_is_refused_with_its_name(to: Any, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault) as refusal:
        te.SniRoute({"a.example": to})
    assert str(refusal.value).startswith("SniRoute['a.example']")
    if to is not None:
        with pytest.raises(ConfigurationError, match=r"SniRoute\(default\)"):
            te.SniRoute({"a.example": "shop"}, default=to)


@pytest.mark.parametrize("routes", [{}, None, ["a.example"], "a.example"])
def test_without_routes_and_default_it_is_refused(routes: Any) -> None:
    with pytest.raises(ConfigurationError, match="must have routes by server name"):
        te.SniRoute(routes)
