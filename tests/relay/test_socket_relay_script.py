"""The relay over sockets, step by step: how it starts, lingers and ends."""

import errno
import os

import pytest

from tests.support.scripted_relay import CLIENT_FD, ENDED, FULL, UPSTREAM_FD, ScriptedRelay
from trioedge.loop.reactor import READABLE
from trioedge.relay import relay_deadline
from trioedge.relay.socket_relay import LINGER_BYTES
from trioedge.session.verdict import Completed, Reason

WAS_RESET = ConnectionResetError(errno.ECONNRESET, "reset")


@pytest.mark.parametrize(
    ("registered", "watched"),
    [
        (True, [("handed over", UPSTREAM_FD), ("added", CLIENT_FD)]),
        (False, [("added", UPSTREAM_FD), ("added", CLIENT_FD)]),
    ],
)
def test_a_start_has_both_sockets_watched_until_the_end(registered: bool, watched: list[tuple[str, int]]) -> None:
    script = ScriptedRelay()
    script.relay.start(registered=registered)
    assert script.reactor.watched == watched
    script.relay.cut(Reason.EVICTED)
    assert script.reactor.watched == []


@pytest.mark.parametrize(("registered", "repeated"), [(True, []), (False, [UPSTREAM_FD])])
def test_an_upstream_that_was_not_watched_for_writing_is_from_its_first_backlog_on(
    registered: bool, repeated: list[int]
) -> None:
    script = ScriptedRelay(client=[b"question"], to_upstream=[FULL])
    script.relay.start(registered=registered)
    assert script.reactor.repeated == repeated


def test_a_client_that_has_spoken_is_read_at_the_start_without_its_event() -> None:
    script = ScriptedRelay(client=[b"question"])
    script.relay.start()
    assert script.upstream.took == b"question"


def test_prefetched_bytes_go_first_and_the_client_is_read_at_its_event() -> None:
    script = ScriptedRelay(client=[b"the rest"])
    script.relay.start(b"read ahead, ")
    assert script.upstream.took == b"read ahead, "
    script.down.on_ready(CLIENT_FD, READABLE)
    assert script.upstream.took == b"read ahead, the rest"


def test_an_upstream_that_has_not_spoken_is_read_at_its_event_and_a_short_read_is_its_last() -> None:
    script = ScriptedRelay(upstream=[b"an answer", b"a new event"])
    script.relay.start()
    assert not script.reactor.agains
    script.up.on_ready(UPSTREAM_FD, READABLE)
    assert script.client.took == b"an answer"


def test_a_client_that_was_reset_before_the_start_leaves_nothing_to_do() -> None:
    script = ScriptedRelay(client=[WAS_RESET], upstream=[b"220 welcome"])
    script.relay.start(readable=True)
    assert [outcome.reason for outcome in script.outcomes] == [Reason.RESET]
    assert not script.reactor.agains
    assert not script.reactor.deadlines


def test_the_first_look_is_an_eighth_of_the_shorter_limit_after_the_start() -> None:
    script = ScriptedRelay()
    assert (script.session.idle_seconds, script.session.half_closed_seconds) == (600.0, 60.0)
    assert list(script.reactor.deadlines.values()) == [107.5]


def test_an_ended_session_has_no_deadline() -> None:
    script = ScriptedRelay(client=[b""], upstream=[b""])
    script.relay.start()
    script.up.on_ready(UPSTREAM_FD, READABLE | ENDED)
    assert script.outcomes == [Completed()]
    assert not script.reactor.deadlines


def finish_paced(up: int, down: int, monkeypatch: pytest.MonkeyPatch, *, shutdown_fails: bool = False) -> ScriptedRelay:
    """Have both sides of a paced session finish after so many bytes, one of which the kernel still has."""
    script = ScriptedRelay(client=[bytes(up), b""], upstream=[bytes(down), b""])
    monkeypatch.setattr(relay_deadline, "unsent_bytes", lambda sock: int(sock is script.client))
    script.relay.pacing = "kernel"
    script.client.shutdown_fails = shutdown_fails
    script.down.on_ready(CLIENT_FD, READABLE | ENDED)
    script.up.on_ready(UPSTREAM_FD, READABLE | ENDED)
    script.reactor.run()
    return script


@pytest.mark.parametrize(
    ("up", "down", "lingers"),
    [
        (1, LINGER_BYTES - 2, False),
        (1, LINGER_BYTES - 1, True),
        (10_000, 10_000, True),
        (LINGER_BYTES - 1, 1, True),
    ],
)
def test_a_paced_session_lingers_from_16384_bytes_of_both_directions_on(
    up: int, down: int, lingers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = finish_paced(up, down, monkeypatch)
    assert script.outcomes == ([] if lingers else [Completed()])
    assert script.client.trail == (["half-closed"] if lingers else ["closed"])


def test_a_lingering_session_whose_client_takes_no_end_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    script = finish_paced(10_000, 10_000, monkeypatch, shutdown_fails=True)
    assert script.outcomes == [Completed(Reason.RESET, os.strerror(errno.ENOTCONN))]
    assert (script.client.trail, script.upstream.trail[-2:]) == (["closed"], ["to be reset", "closed"])
