from typing import Any

import pytest
import trio.testing

import trioedge as te
from tests.support.governed import Governed
from tests.support.hellos import client_hello
from trioedge.errors import ConfigurationError
from trioedge.session.chain import compile_chain
from trioedge.session.verdict import CONTINUE, Completed, Reason, Reject, Verdict
from trioedge.stages.identify import Identify
from trioedge.testing import check_decision, check_handshake, converse, make_session, open_edge

UNKNOWN = Reject(Reason.SERVICE, "no such service")
DISABLED = Reject(Reason.SERVICE, "the service is disabled")
ONE, OTHER = "tcp://127.0.0.1:6380", "unix:///run/edge.sock"
FORWARD = te.Forward("tcp://192.0.2.9:1")


async def nowhere(session: te.Session) -> te.Outcome:
    return Completed()


def answer(stage: Identify, world: Governed, **session: str) -> tuple[Verdict, str]:
    """What a chain with this stage decides, and the name of the session's service then."""
    asked = world.session(**session)
    return compile_chain([stage], nowhere).decide(asked), asked.service.name


# Three sources of the name.


def test_by_default_all_sessions_are_of_the_service_default() -> None:
    world = Governed()
    world.put("default")
    assert answer(Identify(), world) == (CONTINUE, "default")


def test_one_name_is_the_service_of_all_sessions() -> None:
    world = Governed()
    world.put("shop")
    assert answer(Identify("shop"), world, listener=ONE) == (CONTINUE, "shop")
    assert answer(Identify("shop"), world, listener=OTHER) == (CONTINUE, "shop")


def test_names_by_listener_refuse_a_session_of_another_listener() -> None:
    world = Governed()
    world.put("shop")
    world.put("blog")
    stage = Identify({ONE: "shop", OTHER: "blog", "tcp://LocalHost:1": "shop"})
    assert answer(stage, world, listener=ONE) == (CONTINUE, "shop")
    assert answer(stage, world, listener=OTHER) == (CONTINUE, "blog")
    assert answer(stage, world, listener="tcp://localhost:1") == (CONTINUE, "shop"), "in the spelling of the edge"
    assert answer(stage, world, listener="tcp://127.0.0.1:6381") == (UNKNOWN, "")


def test_a_function_names_the_service_or_gives_none_for_a_refusal() -> None:
    world = Governed()
    world.put("shop")

    def by_source(session: te.Session) -> str | None:
        return {"192.0.2.1": "shop", "192.0.2.2": "ghost"}.get(session.source)

    stage = Identify(by_source)
    assert answer(stage, world, source="192.0.2.1") == (CONTINUE, "shop")
    assert answer(stage, world, source="192.0.2.2") == (UNKNOWN, "")
    assert answer(stage, world, source="192.0.2.3") == (UNKNOWN, "")


def test_a_function_that_gives_no_text_is_a_fault_that_names_what_it_gave() -> None:
    stage = Identify(lambda session: 7)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match=r"session\.service = 7 must be a service's name"):
        stage.decide(Governed().session())


# What becomes of the name.


def test_a_service_is_refused_while_it_is_unknown_or_disabled() -> None:
    world = Governed()
    stage = Identify("shop")
    assert answer(stage, world) == (UNKNOWN, "")
    world.put()
    assert answer(stage, world) == (CONTINUE, "shop")
    world.put(enabled=False)
    assert answer(stage, world) == (DISABLED, "")
    world.put(enabled=True)
    assert answer(stage, world) == (CONTINUE, "shop")
    world.remove()
    assert answer(stage, world) == (UNKNOWN, "")


def test_without_a_control_plane_every_name_is_a_service() -> None:
    world = Governed(governed=False)
    stage = Identify(lambda session: session.source if session.source != "unix" else None)
    assert answer(stage, world, source="192.0.2.1") == (CONTINUE, "192.0.2.1")
    assert answer(stage, world, source="unix") == (UNKNOWN, "default")
    check_decision(stage)


def test_a_live_session_is_moved_to_its_service_once() -> None:
    world = Governed()
    shop = world.put()
    session = world.session()
    world.registry.add(session)
    for _ in range(2):
        assert Identify("shop").decide(session) is CONTINUE
        assert (shop.live, shop.opened) == (1, 1)
    assert list(world.registry.each(shop)) == [session]


# Bad arguments.


@pytest.mark.parametrize("by", [None, 7, ["shop"], b"shop"])
def test_an_argument_that_cannot_give_a_name_is_refused(by: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Identify(by)
    assert str(refusal.value) == f"Identify({by!r}) must be a name, names by listener, or a function of a session"


@pytest.mark.parametrize("name", ["", "x" * 256, None, 7])
def test_a_name_that_no_service_can_have_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Identify({ONE: name})
    assert str(refusal.value) == f"Identify: the service name {name!r} must be text of 1 to 255 letters"
    if isinstance(name, str):
        with pytest.raises(ConfigurationError, match="must be text of 1 to 255 letters"):
            Identify(name)
    assert repr(Identify("x" * 255)) == f"Identify('{'x' * 255}')"


def test_a_listener_that_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'127\.0\.0\.1:6380' must begin with tcp://"):
        Identify({"127.0.0.1:6380": "shop"})


def test_a_listener_on_which_the_edge_does_not_listen_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        te.Edge(ONE, [te.IdleTimeout(9), Identify({ONE: "shop", "tcp://127.0.0.1:6381": "blog"})], FORWARD)
    assert str(refusal.value) == (
        "stage 2 (Identify) names tcp://127.0.0.1:6381, where the edge does not listen: it listens on "
        "tcp://127.0.0.1:6380"
    )
    edge = te.Edge(
        [OTHER, "tcp://LocalHost:6380"], [Identify({"tcp://localhost:6380": "shop", OTHER: "blog"})], FORWARD
    )
    assert set(edge.outline.facts[0].listeners) == {OTHER, "tcp://localhost:6380"}


def test_a_listener_with_port_0_is_refused_at_start_because_its_address_is_not_known_yet() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        te.Edge("tcp://127.0.0.1:0", [Identify({"tcp://127.0.0.1:0": "shop"})], FORWARD)
    assert str(refusal.value) == (
        "stage 1 (Identify) names tcp://127.0.0.1:0, whose port is known only once the edge listens: "
        "give the listener a port of its own"
    )


def test_two_of_them_in_one_chain_are_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="Identify is in the chain twice"):
        te.Edge(ONE, [Identify("shop"), Identify("blog")], FORWARD)


# Within an edge.


async def test_an_edge_counts_a_session_of_an_unknown_service_as_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = te.MemoryControl({"shop": te.Policy()})
    stages = [Identify(lambda session: "shop" if session.source == "192.0.2.1" else "ghost")]
    async with open_edge(te.Edge(ONE, stages, FORWARD, control=control)) as world:
        client = await world.connect("192.0.2.1")
        assert client.session.service is world.edge.services["shop"]
        assert (await world.connect("192.0.2.2")).outcome == UNKNOWN
        assert world.edge.statistics().refused == {Reason.SERVICE: 1}


def test_it_prints_as_it_was_written() -> None:
    def by_source(session: te.Session) -> str:
        return session.source

    assert repr(Identify()) == "Identify('default')"
    assert repr(Identify({ONE: "shop"})) == "Identify({'tcp://127.0.0.1:6380': 'shop'})"
    assert repr(Identify(by_source)) == "Identify(by_source)"


# By the server name of TLS.


def test_a_service_is_named_by_the_server_name_and_the_hello_is_left() -> None:
    session, hello = make_session(), client_hello("Shop.Example")
    done = converse(Identify.by_sni(), session, hello)
    assert (done.verdict, done.sent, done.left) == (CONTINUE, b"", hello)
    assert session.service.name == "shop.example"


@pytest.mark.parametrize(
    ("name", "detail", "alert"), [(None, "the client names no host", 109), ("gone.example", "no such service", 112)]
)
def test_a_client_without_a_name_or_with_one_that_is_no_service_is_told_by_tls(
    name: str | None, detail: str, alert: int
) -> None:
    done = converse(Identify.by_sni(), Governed().session(), client_hello(name))
    assert (done.verdict, done.sent) == (Reject(Reason.SERVICE, detail), b"\x15\3\1\0\2\2" + bytes([alert]))


def test_bytes_that_are_no_hello_are_refused() -> None:
    assert converse(Identify.by_sni(), make_session(), b"GET").verdict == Reject(
        Reason.PROTOCOL, "TLS hello: the bytes are not TLS"
    )


def test_naming_by_server_name_does_the_same_however_the_hello_arrives() -> None:
    check_handshake(Identify.by_sni(), [client_hello("shop.example"), client_hello(None), b"GET / HTTP/1.1\r\n"])


def test_naming_by_server_name_provides_the_service_once() -> None:
    forward = te.Forward("tcp://192.0.2.9:1")
    te.Edge("tcp://127.0.0.1:0", [Identify.by_sni(), te.SessionGate(rate=1)], forward)
    with pytest.raises(ConfigurationError, match="twice"):
        te.Edge("tcp://127.0.0.1:0", [Identify.by_sni(), Identify.by_sni()], forward)
    assert repr(Identify.by_sni()) == "Identify.by_sni()"


# Sessions that came by a listener of their service.


def refuse_to_name(session: te.Session) -> str:
    pytest.fail("a session that has its service is not asked")


@pytest.mark.parametrize("by", ["default", {ONE: "blog"}, refuse_to_name])
def test_a_session_by_the_listener_of_its_service_passes_whatever_the_argument(by: Any) -> None:
    world = Governed()
    world.put("shop")
    world.put("blog")
    session = world.session("shop", listener=ONE)
    session.come_by_listener()
    assert compile_chain([Identify(by)], nowhere).decide(session) is CONTINUE
    assert (session.service.name, session.refusal) == ("shop", None)


def test_the_hello_of_a_session_by_a_listener_is_not_read() -> None:
    world = Governed()
    world.put("shop")
    session = world.session("shop")
    session.come_by_listener()
    done = converse(Identify.by_sni(), session, b"SSH-2.0-OpenSSH_9.2\r\n")
    assert done.verdict is CONTINUE
    assert session.service.name == "shop"
