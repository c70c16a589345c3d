"""Handshakes are explained, timed and logged as decisions are."""

import io
import json

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.talks import WORLDS, finish, hear, open_talks


@te.handshake(provides=("service",), proceeds=True)
def token(session: te.Session) -> te.Steps:
    line = yield te.ReadUntil(b"\n")
    if line == b"raise\n":
        raise LookupError("a bug")
    if line != b"sesame\n":
        yield te.Send(b"no")
        return te.Reject(te.Reason.CREDENTIALS, "unknown token")
    session.service = "shop"
    yield te.PROCEED
    return te.CONTINUE


@te.decision
def refuse_all(session: te.Session) -> te.Verdict:
    return te.Reject(te.Reason.POLICY, "closed")


async def explained(world: str, says: bytes, *behind: object) -> tuple[list[tuple[str, str, bool]], dict[str, int]]:
    """Have one session, and give its steps, and the sessions that each stage has timed."""
    with capture_logs():
        async with open_talks(world, token, behind=behind) as talks:
            client = await talks.connect()
            await client.send_all(says)
            await finish(client)
            await hear(client)
            await talks.ended()
            steps = talks.edge.explain(talks.sessions[0]).steps
            timed = {each.stage: each.sessions for each in talks.edge.stage_times()}
    skipped = ("note", "pass_on")
    return (
        [(each.stage, each.answer, each.microseconds is not None) for each in steps if each.stage not in skipped],
        {stage: count for stage, count in timed.items() if stage not in skipped},
    )


@pytest.mark.parametrize("world", WORLDS)
async def test_a_handshake_that_a_session_has_passed_is_explained_and_timed(world: str) -> None:
    steps, timed = await explained(world, b"sesame\n", te.IdleTimeout(9))
    assert steps == [("token", "continue", True), ("IdleTimeout", "continue", True), ("Forward", "connected", True)]
    assert timed == {"token": 1, "IdleTimeout": 1}


@pytest.mark.parametrize("world", WORLDS)
async def test_a_handshake_that_refuses_is_the_last_step(world: str) -> None:
    steps, timed = await explained(world, b"other\n", te.IdleTimeout(9))
    assert steps == [("token", "credentials: unknown token", True)]
    assert timed == {"token": 1, "IdleTimeout": 0}


@pytest.mark.parametrize("world", WORLDS)
async def test_a_client_that_leaves_and_a_script_that_raises_are_the_handshake_s_step(world: str) -> None:
    steps, _ = await explained(world, b"ses")
    assert steps == [("token", "handshake: the client left in the middle of it", True)]
    steps, _ = await explained(world, b"raise\n")
    assert steps == [("token", "fault: LookupError('a bug')", True)]


@pytest.mark.parametrize("world", WORLDS)
async def test_a_decision_that_refuses_behind_a_handshake_is_the_last_step(world: str) -> None:
    steps, timed = await explained(world, b"sesame\n", refuse_all)
    assert steps == [("token", "continue", True), ("refuse_all", "policy: closed", True)]
    assert timed == {"token": 1, "refuse_all": 1}


async def test_a_live_session_is_explained_up_to_its_handshake() -> None:
    async with open_talks("reactor", token) as talks:
        client = await talks.connect()
        await client.send_all(b"ses")
        while talks.sessions[0].phase != "handshaking":
            await trio.lowlevel.checkpoint()
        steps = talks.edge.explain(talks.sessions[0]).steps
        assert [(each.stage, each.answer) for each in steps] == [("note", "continue"), ("token", "handshaking")]


@pytest.mark.parametrize("world", WORLDS)
async def test_the_access_log_has_the_stage_and_the_reason_of_a_refusal(world: str) -> None:
    text = io.StringIO()
    async with open_talks(world, token, access_log=te.AccessLog(text)) as talks:
        client = await talks.connect()
        await client.send_all(b"other\n")
        await finish(client)
        await hear(client)
        await talks.ended()
    (line,) = (json.loads(each) for each in text.getvalue().splitlines())
    assert (line["reason"], line["detail"]) == ("credentials", "unknown token")
    assert "other" not in text.getvalue()
