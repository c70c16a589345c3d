"""Good handshakes pass their check, and a bad one is named with its fault."""

from typing import Any

import attrs
import pytest
import trio

import trioedge as te
from examples.custom_handshake import token
from trioedge.testing import Conversed, check_handshake, converse, make_session


@te.handshake(proceeds=True)
def asks(session: te.Session) -> te.Steps:
    yield te.Read(1)
    outcome = yield te.PROCEED
    yield te.Send(b"yes" if outcome is None else b"no")
    return te.CONTINUE


async def double(text: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return text * 2


@te.handshake
def doubles(session: te.Session) -> te.Steps:
    yield te.Send((yield te.Background(double, (yield te.Read(2)))))
    return te.CONTINUE


class Length:
    """A recipe of a handshake."""

    kind = "handshake"
    max_bytes = 300

    def open(self, context: te.EdgeContext) -> "LiveLength":
        return LiveLength()


class LiveLength:
    max_bytes = 300

    def converse(self, session: te.Session) -> te.Steps:
        size = yield te.Read(1)
        yield te.Read(size[0])
        return te.CONTINUE


@te.handshake
def sniffs(session: te.Session) -> te.Steps:
    data = yield te.Peek(1, seconds=1)
    return te.CONTINUE if data else te.Reject(te.Reason.PROTOCOL)


@pytest.mark.parametrize(
    ("stage", "messages"),
    [
        (token, [b"open-sesame\n", b"swordfish\r\n", b"\n", b"x" * 64]),
        (asks, [b"?"]),
        (doubles, [b"ab"]),
        (Length(), [b"\x00", b"\x05hello"]),
        (sniffs, [b"", b"G"]),
    ],
)
def test_a_good_handshake_passes(stage: object, messages: list[bytes]) -> None:
    check_handshake(stage, messages)


@te.handshake
def unsaid(session: te.Session) -> te.Steps:
    yield te.Read(1)
    session.service = "shop"
    return te.CONTINUE


@te.handshake
def counts_chunks(session: te.Session) -> te.Steps:
    first = yield te.Peek(1)
    yield te.Send(b"%d" % len(first))
    yield te.Read(3)
    return te.CONTINUE


@te.handshake
def writes_by_chunks(session: te.Session) -> te.Steps:
    first = yield te.Peek(1)
    session.device = f"{len(first)}"
    yield te.Read(3)
    return te.CONTINUE


writes_by_chunks = attrs.evolve(writes_by_chunks, provides=("device",))


@te.handshake
def raises_on_odd_bytes(session: te.Session) -> te.Steps:
    line = yield te.ReadUntil(b"\n")
    line.decode("ascii")
    return te.CONTINUE


@te.handshake
def raises_on_floods(session: te.Session) -> te.Steps:
    head = yield te.Read(4)
    int(head)
    return te.CONTINUE


@te.handshake
def nonsense(session: te.Session) -> te.Steps:
    yield 5  # type: ignore[misc]
    return te.CONTINUE


@te.handshake
def forgets(session: te.Session) -> te.Steps:  # type: ignore[return]
    yield te.Read(1)


@te.handshake
def defers(session: te.Session) -> te.Steps:
    def fail(session: te.Session) -> None:
        raise LookupError("a bug")

    session.defer(fail)
    yield te.Read(1)
    return te.CONTINUE


@te.handshake
def raises_when_its_client_leaves(session: te.Session) -> te.Steps:
    try:
        yield te.Read(2)
    except GeneratorExit:
        raise LookupError("a bug") from None
    return te.CONTINUE


@te.handshake
def reads_on_behind(session: te.Session) -> te.Steps:
    yield te.PROCEED
    yield te.Read(1)
    return te.CONTINUE


@pytest.mark.parametrize(
    ("stage", "messages", "fault"),
    [
        (unsaid, [b"x"], r"unsaid writes session\.service: say provides=\('service',\)"),
        (counts_chunks, [b"abc"], "counts_chunks does not do the same with"),
        (writes_by_chunks, [b"abc"], "writes_by_chunks does not write the same with"),
        (token, [b"open-sesame"], r"token needs more than b'open-sesame': ReadUntil\(b'\\n'\)"),
        (raises_on_odd_bytes, [b"\xff\n"], r"raises_on_odd_bytes raised UnicodeDecodeError.* with \[b'\\xff\\n'\]"),
        (raises_on_floods, [b"1234"], "raises_on_floods raised ValueError"),
        (nonsense, [b""], "nonsense raised TypeError.*yielded 5, which is no command"),
        (forgets, [b"x"], "forgets raised TypeError.*returned None"),
        (defers, [b"x"], "a deferred clean-up of defers raised LookupError"),
        (raises_when_its_client_leaves, [b"ab"], "raises_when_its_client_leaves raised LookupError"),
        (reads_on_behind, [b""], r"reads_on_behind raised TypeError.* can only Send"),
    ],
)
def test_a_bad_handshake_is_named_with_its_fault(stage: object, messages: list[bytes], fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        check_handshake(stage, messages)


@te.decision
def yes(session: te.Session) -> te.Verdict:
    return te.CONTINUE


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_handshake(yes, [b""]), "yes is a decision, not a handshake: call check_decision with it"),
        (lambda: converse(yes, make_session()), "yes is a decision, not a handshake: call check_decision with it"),
    ],
)
def test_another_kind_of_stage_is_refused(check: Any, message: str) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        check()
    assert str(refusal.value) == message


def test_a_handshake_that_needs_more_says_what() -> None:
    result = converse(token, make_session(), b"open-", b"sesam")
    assert (result.verdict, result.left, repr(result.needs)) == (None, b"open-sesam", r"ReadUntil(b'\n')")


def test_a_session_has_what_the_handshake_wrote() -> None:
    session = make_session()
    assert converse(token, session, b"open-sesame\nrest") == Conversed(b"", te.CONTINUE, b"rest", False, None)
    assert session.service.name == "shop"


@pytest.mark.parametrize(
    ("connected", "sent", "verdict"),
    [
        (None, b"yes", te.CONTINUE),
        (te.Completed(te.Reason.UPSTREAM_REFUSED), b"no", te.Reject(te.Reason.UPSTREAM_REFUSED)),
        (te.Reject(te.Reason.RATE, "many"), b"no", te.Reject(te.Reason.RATE, "many")),
    ],
)
def test_the_answer_to_proceed_is_the_test_s(connected: Any, sent: bytes, verdict: te.Verdict) -> None:
    result = converse(asks, make_session(), b"?left", connected=connected)
    assert result == Conversed(sent, verdict, b"left", True, None)


def test_background_answers_are_the_test_s_or_the_function_s() -> None:
    assert converse(doubles, make_session(), b"ab").sent == b"abab"
    assert converse(doubles, make_session(), b"ab", background=lambda asked: asked.args[0] + b"!").sent == b"ab!"


async def test_within_trio_a_background_answer_must_be_the_test_s() -> None:
    with pytest.raises(AssertionError, match=r"give background=, or test in a def"):
        converse(doubles, make_session(), b"ab")


def test_tls_needs_sockets() -> None:
    import ssl

    @te.handshake
    def begins_tls(session: te.Session) -> te.Steps:
        yield te.StartTls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        return te.CONTINUE

    with pytest.raises(te.ConfigurationError, match="StartTls needs sockets: test it with an edge"):
        converse(begins_tls, make_session())


@te.handshake
def says_nothing_of_it(session: te.Session) -> te.Steps:
    yield te.Read(1)
    yield te.PROCEED
    return te.CONTINUE


def test_one_that_proceeds_and_does_not_say_so_is_named() -> None:
    with pytest.raises(AssertionError, match=r"^says_nothing_of_it yields PROCEED: say proceeds=True, so that no"):
        check_handshake(says_nothing_of_it, [b"x"])


@pytest.mark.parametrize("messages", [b"hello\n", "hello\n", ["hello\n"], [b"hello\n", 5], None])
def test_messages_that_are_no_list_of_bytes_are_refused_before_the_handshake_has_them(messages: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^check_handshake\(messages=.*\) must be bytes, one for each, as in \[b'hello"
    ):
        check_handshake(token, messages)


@pytest.mark.parametrize("chunk", ["hello\n", 5, None])
def test_a_talk_in_anything_but_bytes_is_refused(chunk: Any) -> None:
    with pytest.raises(TypeError, match=r"^converse\(chunks=.*\) must be bytes"):
        converse(token, make_session(), chunk)


def test_a_talk_without_a_session_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^converse\(session=b'hello'\) needs a session: write make_session\(\)$"):
        converse(token, b"hello")  # type: ignore[arg-type]
