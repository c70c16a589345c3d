"""One port, several protocols: which stages the first bytes choose, the silent client, and the facts of the stages."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.hellos import client_hello
from tests.support.tls import localhost
from trioedge.errors import ConfigurationError
from trioedge.services.context import EdgeContext
from trioedge.session.kinds import facts_of
from trioedge.testing import (
    ScriptedUpstream,
    check_handshake,
    converse,
    make_context,
    make_session,
    open_edge,
)

HELLO = client_hello("a.example")
UNKNOWN = te.Reject(te.Reason.PROTOCOL, "its first bytes are of no protocol of this port")
ONE_PORT = te.Detect(
    {
        "tls": te.SniRoute({"a.example": "by-name"}),
        "socks": "tcp://192.0.2.1:1080",
        "http": "web",
        b"SSH-": "tcp://192.0.2.2:22",
    }
)
GREETED = te.Detect({"http": "web"}, default="tcp://192.0.2.2:22", seconds=0.2)


def goes_to(detect: te.Detect, *chunks: bytes) -> str | None:
    session = make_session()
    done = converse(detect, session, *chunks)
    assert (done.verdict, done.left) == (te.CONTINUE, b"".join(chunks)), "its bytes are left to the upstream"
    return session.destination or session.service.name


# Protocols.


@pytest.mark.parametrize(
    ("sent", "to"),
    [
        (HELLO, "by-name"),
        (b"\4\1\0\x50\xc0\0\2\1\0", "tcp://192.0.2.1:1080"),
        (b"\5\1\0", "tcp://192.0.2.1:1080"),
        (b"GET / HTTP/1.1\r\n\r\n", "web"),
        (b"VERSION-CONTROL / HTTP/1.1\r\n\r\n", "web"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "web"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "tcp://192.0.2.2:22"),
    ],
)
def test_the_first_bytes_choose_the_stages_however_they_arrive(sent: bytes, to: str) -> None:
    assert goes_to(ONE_PORT, sent) == to
    assert goes_to(ONE_PORT, *(sent[at : at + 1] for at in range(len(sent)))) == to
    check_handshake(ONE_PORT, [sent])


@pytest.mark.parametrize(
    "sent", [b"\0", b"\x16\2", b"\x80\x2e\1", b"get / ", b"GET\r\n", b"SSH1", b"A" * 21, b"\xff" * 100, b"-GET "]
)
def test_other_bytes_are_refused_or_go_to_the_default(sent: bytes) -> None:
    assert converse(ONE_PORT, make_session(), sent).verdict == UNKNOWN
    assert goes_to(te.Detect({"tls": "x", "http": "web", b"SSH-": "y"}, default="rest"), sent) == "rest"


def test_a_protocol_whose_bytes_are_not_all_there_is_waited_for() -> None:
    for half in (b"\x16", b"GE", b"SSH"):
        assert converse(ONE_PORT, make_session(), half).verdict is None


def test_the_protocols_are_asked_in_their_order_and_a_doubtful_one_before_the_next() -> None:
    shadowed = te.Detect({b"AB": "first", b"A": "second"})
    assert goes_to(shadowed, b"A", b"B") == "first"
    assert goes_to(shadowed, b"A", b"C") == "second"


def test_a_function_of_the_first_bytes_knows_a_protocol() -> None:
    def is_postgres(held: bytes) -> bool | None:
        return held[4:8] == b"\x04\xd2\x16\x2f" if len(held) >= 8 else None

    detect = te.Detect({is_postgres: "tcp://192.0.2.3:5432"}, default="rest")
    assert goes_to(detect, b"\0\0\0\x08\x04\xd2", b"\x16\x2f") == "tcp://192.0.2.3:5432"
    assert goes_to(detect, b"GET / HTTP") == "rest"
    assert repr(detect) == "Detect(is_postgres, default)"


# Silence.


def test_a_silent_client_goes_to_the_default() -> None:
    assert goes_to(GREETED) == "tcp://192.0.2.2:22"
    assert goes_to(GREETED, b"GE") == "tcp://192.0.2.2:22", "one that stops in the middle of a method"


async def connected_after(detect: te.Detect, *sent: bytes) -> float:
    """Give how many seconds it takes until the upstream of a client is connected, which speaks first."""
    made = te.Edge("tcp://127.0.0.1:6380", [detect], te.Forward())
    upstream = ScriptedUpstream()
    async with open_edge(made, upstream) as world:
        client = await world.connect()
        began = trio.current_time()
        for each in sent:
            await client.send(each)
            await trio.sleep(0.15)
        while not upstream.asked and client.outcome is None:
            await trio.sleep(0.001)
        return trio.current_time() - began


async def test_a_silent_client_is_waited_for_its_seconds_in_all(autojump_clock: trio.testing.MockClock) -> None:
    detect = te.Detect({"http": "tcp://8.8.8.8:80"}, default="tcp://8.8.8.8:22", seconds=0.4)
    assert await connected_after(detect) == pytest.approx(0.4, abs=0.01)
    assert await connected_after(detect, b"G", b"E", b"T", b"T") == pytest.approx(0.6, abs=0.01), "its letters took 0.6"
    assert await connected_after(detect, b"GET /") < 0.2


async def test_without_a_default_a_silent_client_has_the_time_of_the_handshake(
    autojump_clock: trio.testing.MockClock,
) -> None:
    made = te.Edge("tcp://127.0.0.1:6380", [te.Detect({"tls": "tcp://192.0.2.1:1"})], te.Forward())
    async with open_edge(made) as world:
        client = await world.connect()
        began = trio.current_time()
        outcome = await client.ended()
        assert isinstance(outcome, te.Reject)
        assert outcome.reason is te.Reason.HANDSHAKE
        assert trio.current_time() - began == pytest.approx(10.5)


# Lists of stages.


@te.decision
def closed(session: te.Session) -> te.Verdict:
    return te.Reject(te.Reason.POLICY, "closed")


@te.handshake(provides=("destination",), proceeds=True)
def asks(session: te.Session) -> te.Steps:
    """A protocol in miniature: ``to NAME``, answered once it is connected."""
    line = yield te.ReadUntil(b"\n")
    session.destination = f"tcp://{line.split()[1].decode()}:1"
    outcome = yield te.PROCEED
    yield te.Send(b"ok\n" if outcome is None else f"no: {outcome.reason}\n".encode())
    return te.CONTINUE


def test_an_empty_list_goes_on_as_the_chain_says() -> None:
    done = converse(te.Detect({"http": []}), make_session(), b"GET / HTTP/1.1\r\n")
    assert (done.verdict, done.left) == (te.CONTINUE, b"GET / HTTP/1.1\r\n")


def test_decisions_run_in_their_place() -> None:
    seen: list[str] = []

    def noting(word: str) -> Any:
        @te.decision
        def note(session: te.Session) -> te.Verdict:
            seen.append(f"{word} {session.destination}")
            return te.CONTINUE

        return note

    detect = te.Detect({b"to": [noting("before"), asks, noting("behind")]})
    done = converse(detect, make_session(), b"to a.test\n")
    assert (done.verdict, done.sent, done.proceeded) == (te.CONTINUE, b"ok\n", True)
    assert seen == ["before None", "behind tcp://a.test:1"]
    assert converse(te.Detect({b"to": [closed, asks]}), make_session(), b"to a.test\n").verdict == closed(
        make_session()
    )


def test_a_decision_that_refuses_behind_a_handshake_is_answered_in_its_words() -> None:
    detect = te.Detect({b"to": [asks, te.DestinationMatch(reject=["*.bad.test"])]})
    done = converse(detect, make_session(), b"to x.bad.test\n")
    assert (done.verdict, done.sent) == (te.Reject(te.Reason.DESTINATION, "*.bad.test"), b"no: destination\n")
    assert not done.proceeded, "the chain behind is not run"
    assert converse(detect, make_session(), b"to good.test\n").sent == b"ok\n"
    check_handshake(detect, [b"to x.bad.test\n", b"to good.test\n"])


def test_a_connect_that_fails_is_told_to_the_handshake() -> None:
    done = converse(
        te.Detect({b"to": [asks]}), make_session(), b"to a.test\n", connected=te.Completed(te.Reason.UPSTREAM_REFUSED)
    )
    assert done.sent == b"no: upstream_refused\n"


def test_a_handshake_that_goes_on_behind_a_refusal_is_a_fault() -> None:
    @te.handshake(proceeds=True)
    def again(session: te.Session) -> te.Steps:
        while True:
            yield te.PROCEED

    with pytest.raises(TypeError, match="yielded PROCEED behind PROCEED, where it can only Send"):
        converse(te.Detect({b"a": [again, closed]}), make_session(), b"a")


def test_what_the_background_raises_is_raised_in_the_handshake() -> None:
    @te.handshake
    def slow(session: te.Session) -> te.Steps:
        try:
            yield te.Background(trio.sleep, 0)
        except LookupError:
            return te.Reject(te.Reason.CREDENTIALS, "unknown")
        return te.CONTINUE

    def fail(_: te.Background) -> None:
        raise LookupError

    done = converse(te.Detect({b"a": slow}), make_session(), b"a", background=fail)
    assert done.verdict == te.Reject(te.Reason.CREDENTIALS, "unknown")


def test_a_handshake_that_ends_early_is_closed() -> None:
    closed_at: list[str] = []

    @te.handshake
    def waits(session: te.Session) -> te.Steps:
        try:
            yield te.Read(100)
        finally:
            closed_at.append("here")
        return te.CONTINUE

    assert converse(te.Detect({b"a": waits}), make_session(), b"a").verdict is None
    assert closed_at == ["here"]


def test_a_decision_that_returns_nonsense_is_a_fault() -> None:
    @te.decision
    def nonsense(session: te.Session) -> Any:
        return True

    with pytest.raises(TypeError, match="decision nonsense returned True"):
        converse(te.Detect({b"a": nonsense}), make_session(), b"a")


def test_a_decision_that_raises_behind_a_handshake_that_proceeds_fails_a_check() -> None:
    @te.decision
    def raises(session: te.Session) -> te.Verdict:
        raise LookupError("a bug")

    with pytest.raises(AssertionError, match="decision failed: LookupError"):
        converse(te.Detect({b"\4": [te.Socks(), raises]}), make_session(), b"\4\1\0\x50\xc0\0\2\1\0")


# Recipes among them.


@attrs.frozen
class Counted:
    """A recipe whose live stage works in the background and is closed."""

    log: list[str]
    fails: bool = False
    kind = "handshake"
    provides = ("service",)

    def open(self, context: EdgeContext) -> Any:
        if self.fails:
            raise ConfigurationError("cannot be opened")
        return LiveCounted(self.log)


class LiveCounted:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def converse(self, session: te.Session) -> te.Steps:
        word = yield te.Read(1)
        self.log.append(f"read {word.decode()}")
        return te.CONTINUE

    async def run(self, *, task_status: Any) -> None:
        self.log.append("run")
        task_status.started()
        await trio.sleep_forever()

    def close(self) -> None:
        self.log.append("close")


async def test_a_recipe_is_opened_run_and_closed_by_the_edge(autojump_clock: trio.testing.MockClock) -> None:
    log: list[str] = []
    made = te.Edge("tcp://127.0.0.1:6380", [te.Detect({b"a": Counted(log)})], te.Forward("tcp://192.0.2.1:1"))
    async with open_edge(made) as world:
        client = await world.connect()
        await client.send(b"abc")
        assert await client.receive(2) == b"bc"
    assert log == ["run", "read a", "close"]


def test_what_is_open_is_closed_if_a_later_recipe_cannot_be_opened() -> None:
    log: list[str] = []
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        te.Detect({b"a": Counted(log), b"b": Counted(log, fails=True)}).open(make_context())
    assert log == ["close"]


# Facts.


def test_the_facts_of_all_stages_are_joined() -> None:
    @te.handshake(requires=("source",), provides=("service",), seconds=3, max_bytes=5_000)
    def one(session: te.Session) -> te.Steps:
        yield te.Read(1)
        return te.CONTINUE

    needs_service = te.decision(requires=("service", "device"))(lambda _: te.CONTINUE)
    facts = facts_of(
        te.Detect({b"a": [one, one, one, one, needs_service], b"b": asks}, default="unix:///x.sock", seconds=0.25), "x"
    )
    assert facts.kind == "handshake"
    assert (facts.requires, facts.provides) == (("device", "source"), ("destination", "service"))
    assert (facts.seconds, facts.max_bytes, facts.proceeds) == (12.25, 20_000, True)
    plain = facts_of(te.Detect({"tls": "shop"}), "x")
    assert (plain.seconds, plain.max_bytes, plain.proceeds) == (10.5, 4_096, False)
    assert not plain.needs_destination
    assert facts_of(te.Detect({b"a": [asks, te.DestinationMatch(["a.test"])]}), "x").needs_destination
    named = te.Identify({"tcp://127.0.0.1:6380": "shop"})
    assert facts_of(te.Detect({"tls": named}), "x").listeners == ("tcp://127.0.0.1:6380",)


def test_an_order_that_cannot_work_is_refused_when_it_is_made() -> None:
    match = te.DestinationMatch(reject=["*:25"])
    with pytest.raises(ConfigurationError) as refusal:
        te.Detect({b"to": [match, asks]})
    assert str(refusal.value) == (
        "Detect[b'to']: stage 1 (DestinationMatch) needs the session's destination before anything names it: move it "
        "behind asks, which names it"
    )
    with pytest.raises(ConfigurationError, match=r"stage 2 .* is a handshake behind .*stage 1 \(asks\)"):
        te.Detect({b"to": [asks, te.SniRoute({"a.example": "x"})]})
    te.Edge("tcp://127.0.0.1:0", [te.Detect({b"to": [asks, match]})], te.Forward())


@pytest.mark.parametrize("make", [lambda: te.ProxyProtocol(["10.0.0.0/8"]), lambda: te.Tls([localhost()])])
def test_a_handshake_that_a_chain_may_have_once_is_found_in_the_lists(make: Callable[[], Any]) -> None:
    def edge_of(*stages: object) -> te.Edge:
        return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.1:1"))

    detect = te.Detect({b"a": make(), b"b": [te.Detect({b"b": make()})]}, default=[make()])
    edge_of(detect, te.Identify("shop"))
    edge_of(te.Identify("shop"), te.Detect({b"a": [make(), te.Identify("other")]}))
    for twice in ([make(), make()], [make(), te.Detect({b"b": detect})], [detect, make()]):
        with pytest.raises(ConfigurationError, match=f"{type(make()).__name__} is in the chain twice: use one"):
            edge_of(*twice)


@te.middleware
async def around(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        (around, "stage 1 (around) is a middleware: move it behind Detect"),
        (te.SourceMatch(), "stage 1 (SourceMatch) is asked again about live sessions of every kind"),
        (te.DestinationMatch(), "stage 1 (DestinationMatch) is asked again about live sessions of every kind"),
        (te.SniRoute, "stage 1 (SniRoute) is a class, not a stage: call it"),
        (5, "stage 1 (int) has neither decide(session) nor converse(session)"),
        ("", " = '' must be a destination"),
        ("http://x", "address 'http://x' must begin with tcp:// or unix://"),
    ],
)
def test_a_stage_that_cannot_stand_there_is_refused_with_the_mend(stage: Any, fault: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        te.Detect({"http": stage})
    assert str(refusal.value).startswith("Detect['http']")
    assert fault in str(refusal.value)
    with pytest.raises(ConfigurationError, match=r"^Detect\[default\]"):
        te.Detect({"http": "web"}, default=stage)


@pytest.mark.parametrize(
    ("protocol", "fault"),
    [
        ("htp", "Detect['htp'] is no protocol (did you mean 'http'?): write one of 'tls', 'socks', 'http', its first"),
        ("ssh", "Detect['ssh'] is no protocol: write one of 'tls', 'socks', 'http', its first bytes, as in b'SSH-'"),
        (b"", "Detect[b''] is no protocol"),
        (5, "Detect[5] is no protocol"),
        (te.Session, "Detect[Session] is no protocol"),
        (trio.sleep, "Detect[sleep] is no protocol"),
    ],
)
def test_a_key_that_is_no_protocol_is_refused_with_the_mend(protocol: Any, fault: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        te.Detect({protocol: "web"})
    assert str(refusal.value).startswith(fault)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"protocols": {}}, "must have stages by protocol"),
        ({"protocols": ["tls"]}, "must have stages by protocol"),
        ({"protocols": {"tls": "x"}, "seconds": 0}, r"Detect\(seconds=0\) must be a number above 0"),
        ({"protocols": {"tls": "x"}, "seconds": "1"}, r"Detect\(seconds='1'\) must be a number above 0"),
    ],
)
def test_other_arguments_are_checked(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        te.Detect(**arguments)


def test_it_prints_its_protocols() -> None:
    assert repr(ONE_PORT) == "Detect('tls', 'socks', 'http', b'SSH-')"
    assert repr(GREETED) == "Detect('http', default)"
