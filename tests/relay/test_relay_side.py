"""One socket of a relay, event by event: short writes, failed writes, ends, resets and pauses."""

import errno

import pytest

from tests.support.quotas import limit
from tests.support.scripted_relay import CLIENT_FD, ENDED, FULL, GONE, UPSTREAM_FD, ScriptedRelay
from trioedge.loop.reactor import FAILED, READABLE, WRITABLE
from trioedge.session.allowance import Allowance
from trioedge.session.verdict import Completed, Reason


def test_a_backlog_is_written_once_and_in_order_before_more_is_read() -> None:
    script = ScriptedRelay(client=[b"0123456789", b"abc"], to_upstream=[4, FULL, 3, 0, 2, 1])
    script.down.on_ready(CLIENT_FD, READABLE)
    assert script.upstream.took == b"0123"
    script.down.on_ready(CLIENT_FD, READABLE)  # a new event changes nothing
    for expected in (b"0123", b"0123456", b"0123456", b"012345678"):
        script.up.on_ready(UPSTREAM_FD, WRITABLE)
        assert script.upstream.took == expected
    script.up.on_ready(UPSTREAM_FD, WRITABLE)
    assert script.upstream.took == b"0123456789abc"
    assert script.up.backlog is None
    assert script.relay.bytes_up == 13


def test_a_backlog_is_a_copy_and_not_the_shared_buffer() -> None:
    script = ScriptedRelay(client=[b"mine, all mine"], to_upstream=[FULL])
    script.down.on_ready(CLIENT_FD, READABLE)
    script.reactor.buffer[:22] = b"another session's data"
    script.up.on_ready(UPSTREAM_FD, WRITABLE)
    assert script.upstream.took == b"mine, all mine"


def test_bytes_count_for_the_service_and_the_edge_and_the_first_of_them_wake_a_quiet_session() -> None:
    script = ScriptedRelay(client=[b"question"], to_upstream=[3, 5], upstream=[b"an answer"])
    woken: list[int] = []
    script.session.attach(lambda: woken.append(script.up.moved))
    script.session.listen()
    script.down.on_ready(CLIENT_FD, READABLE)
    script.up.on_ready(UPSTREAM_FD, READABLE | WRITABLE)
    assert woken == [3]
    service = script.session.service
    assert (service.up.bytes, service.up.total.bytes) == (8, 8)
    assert (service.down.bytes, service.down.total.bytes) == (9, 9)


def test_reading_and_writing_a_backlog_count_as_activity() -> None:
    script = ScriptedRelay(client=[b"0123"], to_upstream=[1])
    script.reactor.now = 200.0
    script.down.on_ready(CLIENT_FD, READABLE)
    assert script.relay.active_at == 200.0
    script.reactor.now = 300.0
    script.up.on_ready(UPSTREAM_FD, WRITABLE)
    assert script.relay.active_at == 300.0


def test_a_readable_side_with_a_backlog_is_not_written_until_it_is_writable() -> None:
    script = ScriptedRelay(client=[b"0123456789"], to_upstream=[4], upstream=[b"an answer"])
    script.down.on_ready(CLIENT_FD, READABLE)
    script.up.on_ready(UPSTREAM_FD, READABLE)
    assert (script.upstream.took, script.client.took) == (b"0123", b"an answer")
    script.up.on_ready(UPSTREAM_FD, WRITABLE)
    assert script.upstream.took == b"0123456789"


def test_a_writable_side_that_is_not_readable_is_not_read() -> None:
    script = ScriptedRelay(upstream=[b"an answer"])
    script.up.on_ready(UPSTREAM_FD, WRITABLE)
    assert script.client.took == b""


def test_a_reset_of_the_former_owner_of_a_descriptor_costs_a_side_with_a_slow_peer_no_event() -> None:
    script = ScriptedRelay(client=[b"0123456789"], to_client=[4], upstream=[b"an answer"], to_upstream=[4])
    script.down.on_ready(CLIENT_FD, READABLE)
    script.up.on_ready(UPSTREAM_FD, READABLE)
    assert script.up.backlog is not None
    assert script.down.backlog is not None
    script.up.on_ready(UPSTREAM_FD, READABLE | WRITABLE | ENDED | FAILED)
    assert script.upstream.took == b"0123456789"
    assert script.outcomes == []


BROKEN = Completed(Reason.RESET, "Broken pipe")
RESET = Completed(Reason.RESET, "Connection reset by peer")
WAS_RESET = ConnectionResetError(errno.ECONNRESET, "reset")


def test_a_lost_upstream_without_an_answer_gives_the_client_an_end() -> None:
    script = ScriptedRelay(client=[b"question"], to_upstream=[GONE], upstream=[b""])
    script.down.on_ready(CLIENT_FD, READABLE)
    script.reactor.run()
    assert script.outcomes == [BROKEN]
    assert script.client.trail == ["half-closed", "closed"]


def test_an_answer_after_a_failed_write_is_delivered_and_the_client_closed_in_order() -> None:
    script = ScriptedRelay(client=[b"question", b"more"], to_upstream=[GONE], upstream=[b"an ", b"answer", b""])
    script.down.on_ready(CLIENT_FD, READABLE)
    script.reactor.run()
    assert script.client.took == b"an answer"
    assert script.outcomes == [BROKEN]
    assert script.client.trail == ["half-closed", "closed"]


def test_bytes_for_a_side_that_takes_no_more_are_dropped_and_neither_counted_nor_life() -> None:
    script = ScriptedRelay(client=[b"question", b"more"], to_client=[FULL], to_upstream=[GONE], upstream=[b"x"])
    script.up.on_ready(UPSTREAM_FD, READABLE)
    script.down.on_ready(CLIENT_FD, READABLE)
    script.reactor.now = 150.0
    script.down.on_ready(CLIENT_FD, READABLE)
    assert script.client.reads == []
    assert (script.relay.active_at, script.relay.bytes_up) == (100.0, 0)


def test_a_side_whose_bytes_are_dropped_is_not_read_beyond_its_end() -> None:
    reads: list[bytes | OSError] = [b"question", b"", b"beyond its end"]
    script = ScriptedRelay(client=reads, to_client=[FULL], to_upstream=[GONE], upstream=[b"x"])
    script.up.on_ready(UPSTREAM_FD, READABLE)
    for _ in range(3):
        script.down.on_ready(CLIENT_FD, READABLE | ENDED)
    assert script.client.reads == [b"beyond its end"]
    assert script.down.ended
    assert script.outcomes == []


def test_a_reset_upstream_owes_the_client_all_that_it_sent() -> None:
    script = ScriptedRelay(upstream=[b"0123456789", b"abc", WAS_RESET], to_client=[4, FULL, 3])
    script.up.on_ready(UPSTREAM_FD, READABLE)
    script.upstream.error = errno.ECONNRESET
    script.up.on_ready(UPSTREAM_FD, READABLE | ENDED | FAILED)
    assert script.outcomes == []
    while not script.outcomes:
        script.down.on_ready(CLIENT_FD, WRITABLE)
        script.reactor.run()
    assert script.client.took == b"0123456789abc"
    assert script.client.trail == ["half-closed", "closed"]
    assert script.outcomes == [RESET]


def test_a_reset_client_owes_the_upstream_all_that_it_sent_and_then_a_reset() -> None:
    script = ScriptedRelay(client=[b"0123456789", WAS_RESET], to_upstream=[4, FULL, 3])
    script.down.on_ready(CLIENT_FD, READABLE)
    script.down.on_ready(CLIENT_FD, READABLE | ENDED | FAILED)
    while not script.outcomes:
        script.up.on_ready(UPSTREAM_FD, WRITABLE)
        script.reactor.run()
    assert script.upstream.took == b"0123456789"
    assert script.upstream.trail == ["to be reset", "closed"]
    assert script.client.trail == ["closed"]
    assert script.outcomes == [RESET]


def test_a_failed_write_to_a_side_that_has_ended_ends_the_session() -> None:
    script = ScriptedRelay(client=[b"x"], upstream=[b"all of it", b""], to_upstream=[GONE])
    script.up.on_ready(UPSTREAM_FD, READABLE | ENDED)
    script.reactor.run()
    script.down.on_ready(CLIENT_FD, READABLE)
    assert script.client.took == b"all of it"
    assert script.client.trail == ["half-closed", "half-closed", "closed"]
    assert script.outcomes == [BROKEN]


def test_a_failed_write_of_a_backlog_ends_the_session_once() -> None:
    script = ScriptedRelay(client=[b"0123456789"], to_upstream=[4, GONE], upstream=[b"reply", b""])
    script.up.on_ready(UPSTREAM_FD, READABLE | ENDED)
    script.reactor.run()
    script.down.on_ready(CLIENT_FD, READABLE)
    script.up.on_ready(UPSTREAM_FD, WRITABLE)
    assert script.outcomes == [BROKEN]


def test_a_side_whose_half_close_fails_still_gives_its_answer() -> None:
    script = ScriptedRelay(client=[b""], upstream=[b"an answer", b""])
    script.upstream.shutdown_fails = True
    script.down.on_ready(CLIENT_FD, READABLE | ENDED)
    script.reactor.run()
    assert script.client.took == b"an answer"
    assert [outcome.reason for outcome in script.outcomes] == [Reason.RESET]
    assert script.client.trail == ["half-closed", "closed"]


def test_a_write_that_fails_for_want_of_memory_loses_the_side_once_it_has_nothing_to_read() -> None:
    script = ScriptedRelay(client=[b"question"], to_upstream=[OSError(errno.ENOBUFS, "none")], upstream=[b"half an"])
    script.down.on_ready(CLIENT_FD, READABLE)
    script.reactor.run()
    assert script.client.took == b"half an"
    assert [outcome.reason for outcome in script.outcomes] == [Reason.RESET]


def test_after_a_hang_up_short_reads_continue_to_the_end() -> None:
    script = ScriptedRelay(upstream=[b"a", b"b", b""], client=[])
    script.up.on_ready(UPSTREAM_FD, READABLE | ENDED)
    script.reactor.run()
    assert script.client.took == b"ab"
    assert script.client.trail == ["half-closed"]


def test_a_greeting_whose_event_has_passed_is_read_to_its_end() -> None:
    script = ScriptedRelay(upstream=[b"220 ", b"welcome", b""])
    script.relay.start(readable=True)
    script.reactor.run()
    assert script.client.took == b"220 welcome"
    assert script.client.trail == ["half-closed"]


def test_an_exception_in_a_callback_ends_the_session_once() -> None:
    script = ScriptedRelay()
    script.up.crashed(LookupError("bug"))
    script.up.crashed(LookupError("and again"))
    assert [outcome.reason for outcome in script.outcomes] == [Reason.FAULT]
    assert script.client.trail == script.upstream.trail == ["to be reset", "closed"]


def test_failed_writes_to_both_sides_reset_both() -> None:
    script = ScriptedRelay(client=[b"question"], to_client=[GONE], upstream=[b"answer"], to_upstream=[GONE])
    script.down.on_ready(CLIENT_FD, READABLE)
    script.reactor.run()
    assert script.outcomes == [BROKEN]
    assert script.client.trail == script.upstream.trail == ["to be reset", "closed"]


def test_a_side_asks_for_one_turn_at_a_time() -> None:
    script = ScriptedRelay(client=[bytes(65536)] * 20)
    for _ in range(5):
        script.down.on_ready(CLIENT_FD, READABLE)
    assert len(script.reactor.agains) == 1
    script.reactor.run()
    assert len(script.upstream.took) == 20 * 65536


def test_both_directions_share_an_allowance_and_bytes_beyond_it_are_not_read() -> None:
    allowance = Allowance(10)
    script = ScriptedRelay(client=[b"question"], upstream=[b"answer"], allowance=allowance)
    script.down.on_ready(CLIENT_FD, READABLE)
    script.up.on_ready(UPSTREAM_FD, READABLE)
    script.run()
    assert (script.upstream.took, script.client.took) == (b"question", b"an")
    assert allowance.left == 0
    script.up.on_ready(UPSTREAM_FD, READABLE)
    script.run()
    assert script.client.took == b"an"
    allowance.lift()
    script.run()
    assert script.client.took == b"answer"


def test_an_allowance_of_one_byte_lets_that_byte_pass_and_no_other() -> None:
    script = ScriptedRelay(client=[b"xy"], allowance=Allowance(1))
    script.down.on_ready(CLIENT_FD, READABLE)
    script.run()
    assert script.upstream.took == b"x"
    assert script.relay.paused


def test_two_sessions_of_a_device_share_its_allowance() -> None:
    allowance = Allowance(10)
    one, other = (
        ScriptedRelay(client=[b"12345678"], allowance=allowance),
        ScriptedRelay(client=[b"abcdefgh"], allowance=allowance),
    )
    for script in (one, other):
        script.down.on_ready(CLIENT_FD, READABLE)
        script.run()
    assert (one.upstream.took, other.upstream.took) == (b"12345678", b"ab")
    allowance.lift()
    for script in (one, other):
        script.run()
    assert (one.upstream.took, other.upstream.took) == (b"12345678", b"abcdefgh")


def test_an_allowance_that_was_lifted_before_a_pause_is_dropped() -> None:
    allowance = Allowance(10)
    script = ScriptedRelay(client=[b"0123456789abcdef"], allowance=allowance)
    allowance.lift()
    script.down.on_ready(CLIENT_FD, READABLE)
    assert script.relay.allowance is None
    assert script.upstream.took == b"0123456789abcdef"


def test_bytes_and_ends_that_came_during_a_pause_are_carried_after_it() -> None:
    allowance = Allowance(4)
    script = ScriptedRelay(client=[b"0123456789", b""], upstream=[b"abc", b""], allowance=allowance)
    script.down.on_ready(CLIENT_FD, READABLE | ENDED)
    script.up.on_ready(UPSTREAM_FD, READABLE | ENDED)
    script.run()
    assert (script.upstream.took, script.client.took, script.outcomes) == (b"0123", b"", [])
    allowance.lift()
    script.run()
    assert (script.upstream.took, script.client.took, script.outcomes) == (b"0123456789", b"abc", [Completed()])


def test_a_backlog_is_written_during_a_pause() -> None:
    allowance = Allowance(4)
    script = ScriptedRelay(client=[b"0123456789"], to_upstream=[1, FULL, 3], allowance=allowance)
    script.down.on_ready(CLIENT_FD, READABLE)
    script.up.on_ready(UPSTREAM_FD, WRITABLE)
    script.up.on_ready(UPSTREAM_FD, WRITABLE)
    script.run()
    assert script.upstream.took == b"0123"
    allowance.lift()
    script.run()
    assert script.upstream.took == b"0123456789"


def paused() -> tuple[ScriptedRelay, Allowance]:
    allowance = Allowance(4)
    script = ScriptedRelay(client=[b"0123456789"], allowance=allowance)
    script.down.on_ready(CLIENT_FD, READABLE)
    script.run()
    assert script.relay.paused
    return script, allowance


def test_a_session_that_is_cut_during_a_pause_waits_for_no_lift() -> None:
    script, allowance = paused()
    script.session.cut(Reason.DEVICE)
    assert not allowance._waiting
    allowance.lift()
    assert not script.reactor.repeated
    assert not script.reactor.agains
    assert script.outcomes == [Completed(Reason.DEVICE)]


def test_a_lift_whose_events_cannot_be_repeated_ends_its_session_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script, allowance = paused()

    def repeat(fd: int) -> None:
        raise OSError(errno.ENOMEM, "no memory to watch a socket")

    monkeypatch.setattr(script.reactor, "repeat", repeat)
    allowance.lift()
    assert [outcome.reason for outcome in script.outcomes] == [Reason.FAULT]


def test_a_reset_during_a_pause_ends_the_session() -> None:
    script, allowance = paused()
    script.client.error = errno.ECONNRESET
    script.down.on_ready(CLIENT_FD, READABLE | ENDED | FAILED)
    assert [outcome.reason for outcome in script.outcomes] == [Reason.RESET]
    assert not allowance._waiting


def test_a_reset_of_a_side_is_noticed_while_its_peer_takes_no_more() -> None:
    script = ScriptedRelay(client=[b"question"], to_client=[FULL], upstream=[b"answer"], to_upstream=[GONE])
    script.up.on_ready(UPSTREAM_FD, READABLE)
    script.down.on_ready(CLIENT_FD, READABLE)
    assert script.up.failure == BROKEN
    script.client.reads = [WAS_RESET]
    script.down.on_ready(CLIENT_FD, READABLE | ENDED | FAILED)
    assert [outcome.reason for outcome in script.outcomes] == [Reason.RESET]


def test_a_short_read_of_a_local_socket_is_not_taken_for_its_last() -> None:
    script = ScriptedRelay(client=[b"with a descriptor, ", b"without"], source="unix")
    script.down.on_ready(CLIENT_FD, READABLE)
    assert script.upstream.took == b"with a descriptor, without"


def test_a_short_read_of_a_tcp_socket_is_its_last_and_costs_no_second_read() -> None:
    script = ScriptedRelay(client=[b"all there is, ", b"a new event"])
    script.down.on_ready(CLIENT_FD, READABLE)
    assert script.upstream.took == b"all there is, "


def test_an_event_after_the_end_does_nothing() -> None:
    script = ScriptedRelay(client=[b"late"])
    script.relay.cut(Reason.EVICTED)
    script.down.on_ready(CLIENT_FD, READABLE)
    script.down.resume()
    script.down.crashed(LookupError("late"))
    assert (script.upstream.took, script.outcomes) == (b"", [Completed(Reason.EVICTED)])


def test_the_chunk_that_uses_a_quota_up_is_the_last_one_that_the_session_moves() -> None:
    script = ScriptedRelay(client=[bytes(65_536)] * 4, upstream=[b"an answer"])
    limit(script.session, 65_537)
    script.down.on_ready(CLIENT_FD, READABLE)
    assert len(script.upstream.took) == 2 * 65_536
    assert script.outcomes == [Completed(Reason.QUOTA)]
    assert script.session.cut_reason is Reason.QUOTA
    assert script.client.trail[-2:] == script.upstream.trail[-2:] == ["to be reset", "closed"]
    script.up.on_ready(UPSTREAM_FD, READABLE | WRITABLE)  # its event of the same batch
    script.reactor.run()
    assert script.client.took == b""
    assert script.outcomes == [Completed(Reason.QUOTA)]


def test_a_session_meets_the_end_of_the_quota_that_another_one_used_up_with_its_next_chunk() -> None:
    script = ScriptedRelay(client=[b"one", b"two", b"three"])
    limit(script.session, 100)
    script.down.on_ready(CLIENT_FD, READABLE)
    script.session.service.down.add(200)
    assert script.outcomes == []
    script.down.on_ready(CLIENT_FD, READABLE)
    assert (script.upstream.took, script.outcomes) == (b"onetwo", [Completed(Reason.QUOTA)])


def test_a_backlog_that_uses_a_quota_up_ends_the_session() -> None:
    script = ScriptedRelay(client=[b"0123456789", b"abc"], to_upstream=[4, 3, 3])
    limit(script.session, 7)
    script.down.on_ready(CLIENT_FD, READABLE)
    script.up.on_ready(UPSTREAM_FD, WRITABLE)
    assert (script.upstream.took, script.outcomes) == (b"0123456", [Completed(Reason.QUOTA)])


def test_bytes_that_were_read_ahead_may_use_a_quota_up() -> None:
    script = ScriptedRelay(client=[b"more"], upstream=[b"an answer"])
    limit(script.session, 10)
    script.relay.start(b"0123456789", readable=True)
    script.run()
    assert (script.upstream.took, script.client.took) == (b"0123456789", b"")
    assert script.outcomes == [Completed(Reason.QUOTA)]
