"""A handshake under way, without I/O: the same result however its bytes are cut, and its bounds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trioedge as te
from tests.strategies import examples
from trioedge.session.conversation import MAX_STEPS, Conversation
from trioedge.session.handshake import Command
from trioedge.structures.times import BUCKETS, TOTAL
from trioedge.testing import Conversed, converse, make_session


def script(*commands: Command, max_bytes: int = 16) -> object:
    """Make a handshake that yields these commands, and sends back what it gets."""

    @te.handshake(max_bytes=max_bytes)
    def run(session: te.Session) -> te.Steps:
        for command in commands:
            answer = yield command
            if answer is not None:
                yield te.Send(b"[" + answer + b"]")
        return te.CONTINUE

    return run


READ_3, LINE, PEEK_2 = te.Read(3), te.ReadUntil(b"\r\n"), te.Peek(2)


@pytest.mark.parametrize(
    ("commands", "says", "sent", "left"),
    [
        ([], b"abc", b"", b"abc"),
        ([te.Read(0)], b"abc", b"[]", b"abc"),
        ([READ_3], b"abc", b"[abc]", b""),
        ([READ_3], b"abcd", b"[abc]", b"d"),
        ([LINE], b"ab\r\ncd", b"[ab\r\n]", b"cd"),
        ([LINE], b"\r\r\n", b"[\r\r\n]", b""),
        ([LINE], b"\r\n\r\n", b"[\r\n]", b"\r\n"),
        ([LINE, LINE], b"a\r\nb\r\n", b"[a\r\n][b\r\n]", b""),
        ([PEEK_2], b"ab", b"[ab]", b"ab"),
        ([PEEK_2, te.Read(1)], b"ab", b"[ab][a]", b"b"),
        ([te.Peek(1, 3)], b"", b"[]", b""),
        ([te.Read(16)], b"x" * 20, b"[" + b"x" * 16 + b"]", b"xxxx"),
        ([te.ReadUntil(b"\n", 2)], b"a\nb", b"[a\n]", b"b"),
        ([te.ReadUntil(b"aab")], b"aaab", b"[aaab]", b""),
    ],
)
def test_each_command_is_answered_and_the_rest_is_left(
    commands: list[Command], says: bytes, sent: bytes, left: bytes
) -> None:
    assert converse(script(*commands), make_session(), says) == Conversed(sent, te.CONTINUE, left, False, None)


@pytest.mark.parametrize(
    ("commands", "says", "detail"),
    [
        ([te.Read(17)], b"", "Read(17) does not come within 16 bytes"),
        ([te.Read(10), te.Read(7)], b"x" * 10, "Read(7) does not come within 6 bytes"),
        ([te.Peek(17)], b"", "Peek(17) does not come within 16 bytes"),
        ([LINE], b"x" * 16, r"ReadUntil(b'\r\n') does not come within 16 bytes"),
        ([LINE], b"x" * 15 + b"\r\n", r"ReadUntil(b'\r\n') does not come within 16 bytes"),
        ([te.ReadUntil(b"\n", 3)], b"abc\n", r"ReadUntil(b'\n') does not come within 3 bytes"),
        ([te.Read(16), te.Peek(1)], b"x" * 16, "Peek(1) does not come within 0 bytes"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_more_bytes_than_the_bound_are_refused_whole_and_one_by_one(
    commands: list[Command], says: bytes, detail: str, whole: bool
) -> None:
    chunks = [says] if whole else [bytes([each]) for each in says]
    verdict = converse(script(*commands), make_session(), *chunks).verdict
    assert verdict == te.Reject(te.Reason.PROTOCOL, f"handshake run: {detail}")


COMMANDS = st.one_of(
    st.builds(te.Read, st.integers(0, 6)),
    st.builds(te.ReadUntil, st.sampled_from([b"a", b"ab", b"aab"]), st.none() | st.integers(1, 9)),
)


@given(st.lists(COMMANDS, max_size=5), st.lists(st.sampled_from([b"a", b"b"]), max_size=24), st.data())
@examples(300)
def test_bytes_may_be_cut_anywhere(commands: list[Command], letters: list[bytes], data: st.DataObject) -> None:
    says = b"".join(letters)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(says)), max_size=6)))
    chunks = [says[start:end] for start, end in zip([0, *cuts], [*cuts, len(says)], strict=True)]
    whole = converse(script(*commands), make_session(), says)
    assert converse(script(*commands), make_session(), *filter(None, chunks)) == whole
    if whole.verdict is te.CONTINUE:  # nothing is lost, and nothing comes twice
        assert whole.sent.replace(b"[", b"").replace(b"]", b"") + whole.left == says


def chained(stage: Any) -> Any:
    from trioedge.session.chain import compile_chain

    async def end(session: te.Session) -> te.Outcome:
        return te.Completed()

    return compile_chain([stage], end).handshakes[0]


@pytest.mark.parametrize("command", [te.Send(b""), te.Read(0), te.Peek(1)])
def test_a_handshake_that_needs_no_byte_for_ever_is_ended(command: Command) -> None:
    yielded = 0

    @te.handshake
    def endless(session: te.Session) -> te.Steps:
        nonlocal yielded
        while True:
            yielded += 1
            yield command

    with pytest.raises(RuntimeError, match="yielded 1,000 commands and needed no byte of the client"):
        converse(endless, make_session(), b"x")
    assert MAX_STEPS < yielded <= MAX_STEPS + 2


def test_a_handshake_that_needs_a_byte_for_each_step_may_take_many() -> None:
    commands = [command for _ in range(MAX_STEPS) for command in (te.Read(1), te.Send(b"."))]
    result = converse(script(*commands, max_bytes=MAX_STEPS), make_session(), *[b"x"] * MAX_STEPS)
    assert result.verdict is te.CONTINUE


def test_the_room_is_what_the_bound_leaves() -> None:
    conversation = Conversation(chained(script(te.Read(2), te.Read(9))), make_session(), bytearray())
    conversation.begin()
    assert conversation.room == 16
    conversation.feed(b"a")
    assert conversation.room == 15
    conversation.feed(b"b")
    conversation.resume(None)
    assert (conversation.room, conversation.yields) == (14, 3)
    conversation.close()


def test_what_is_held_already_answers_the_first_commands() -> None:
    held = bytearray(b"ab\r\nrest")
    conversation = Conversation(chained(script(LINE)), make_session(), held)
    command = conversation.begin()
    assert isinstance(command, te.Send)
    assert conversation.resume(None) is None
    assert (conversation.verdict, bytes(held)) == (te.CONTINUE, b"rest")


def test_an_exception_is_raised_in_place_of_an_answer() -> None:
    @te.handshake
    def catches(session: te.Session) -> te.Steps:
        try:
            yield te.Background(print)  # type: ignore[arg-type]
        except LookupError as fault:
            yield te.Send(str(fault).encode())
        return te.CONTINUE

    def background(command: te.Background) -> object:
        raise LookupError("none")

    assert converse(catches, make_session(), background=background).sent == b"none"


def test_one_that_is_closed_while_it_runs_is_closed_where_it_yields_next() -> None:
    closed: list[bool] = []
    conversation: Conversation

    @te.handshake
    def closes_itself(session: te.Session) -> te.Steps:
        try:
            conversation.close()
            yield te.Send(b"words")
        finally:
            closed.append(True)
        return te.CONTINUE

    conversation = Conversation(chained(closes_itself), make_session(), bytearray())
    assert conversation.begin() is None
    assert (conversation.verdict, closed) == (None, [True])


@te.handshake(proceeds=True)
def proceeding(session: te.Session) -> te.Steps:
    outcome = yield te.PROCEED
    yield te.Send(b"a")
    yield te.Send(b"b" if outcome is None else outcome.reason.encode())
    return te.CONTINUE


def test_behind_proceed_it_gives_all_its_words_at_once() -> None:
    conversation = Conversation(chained(proceeding), make_session(), bytearray())
    assert conversation.begin() is te.PROCEED
    assert conversation.proceeded
    assert conversation.connected() == (b"ab", te.CONTINUE)
    conversation = Conversation(chained(proceeding), make_session(), bytearray())
    conversation.begin()
    assert conversation.refused(te.Reject(te.Reason.RATE)) == b"arate"


@pytest.mark.parametrize("second", [te.Read(1), te.Peek(1), te.Background(print), te.PROCEED])  # type: ignore[arg-type]
def test_behind_proceed_it_may_only_send(second: Command) -> None:
    closed: list[bool] = []

    @te.handshake(proceeds=True)
    def more(session: te.Session) -> te.Steps:
        try:
            yield te.PROCEED
            yield second
        finally:
            closed.append(True)
        return te.CONTINUE

    conversation = Conversation(chained(more), make_session(), bytearray(b"bytes that have gone on"))
    conversation.begin()
    with pytest.raises((TypeError, RuntimeError), match=r"behind PROCEED|PROCEED twice"):
        conversation.connected()
    assert closed == [True]
    assert conversation.held == b"bytes that have gone on"


def test_the_time_of_its_own_steps_is_counted_once() -> None:
    from trioedge.session.chain import compile_chain

    now = iter(range(0, 10_000, 100))

    async def end(session: te.Session) -> te.Outcome:
        return te.Completed()

    chain = compile_chain([script(te.Read(1))], end, clock=lambda: next(now))
    session = make_session()
    conversation = Conversation(chain.handshakes[0], session, bytearray())
    conversation.begin()
    conversation.feed(b"x")
    conversation.resume(None)
    conversation.settle(refused=False)
    conversation.settle(refused=True)
    assert session.trace == [300]  # three steps, each of one tick
    assert (sum(chain.counts[0][:BUCKETS]), chain.counts[0][TOTAL]) == (1, 300)
