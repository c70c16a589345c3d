"""Runtime tests of what stages may call through their context: resolve, verify, the addresses."""

import hashlib
from base64 import b64encode
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.cancels import left_open
from tests.support.names import FakeNames
from tests.support.wires import serving
from trioedge.addresses.address import parse_address
from trioedge.testing import open_edge


@attrs.define(eq=False)
class Kept:
    """A decision whose context the test uses."""

    context: te.EdgeContext = attrs.field(init=False)
    kind = "decision"

    def open(self, context: te.EdgeContext) -> "Kept":
        self.context = context
        return self

    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE


def edge_with(*stages: object, **arguments: Any) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:6380", stages, te.Forward("tcp://192.0.2.9:1"), **arguments)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:80", parse_address("tcp://127.0.0.1:80")])
async def test_resolve_gives_the_socket_addresses_of_an_address(address: Any) -> None:
    kept = Kept()
    async with open_edge(edge_with(kept)):
        ((_, where),) = await kept.context.resolve(address)
        assert where == ("127.0.0.1", 80)


async def test_resolve_raises_for_a_name_without_an_address_and_for_text_that_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Kept()
    async with open_edge(edge_with(kept)):
        run: Any = kept.context._edge
        error = te.UpstreamError(te.Reason.UPSTREAM_UNRESOLVED, "tcp://gone.test:80: no such name")
        monkeypatch.setattr(run._resolver, "ask", lambda address, on_answer, asker: on_answer(error))
        with pytest.raises(te.UpstreamError, match="no such name"):
            await kept.context.resolve("tcp://gone.test:80")
        with pytest.raises(te.ConfigurationError, match="must begin with tcp://"):
            await kept.context.resolve("gone.test:80")


async def test_a_callback_of_a_stage_that_raises_does_not_end_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(answer: object) -> None:
        raise ValueError("no address for you")

    kept = Kept()
    async with open_edge(edge_with(kept)):
        resolver: Any = kept.context.resolver
        monkeypatch.setattr(resolver, "_names", FakeNames(db=["192.0.2.1"]))
        with capture_logs() as logs:
            resolver.ask(parse_address("tcp://db.test:80"), wrong)
            await trio.testing.wait_all_tasks_blocked()
        assert [line["event"] for line in logs] == ["resolver: a callback failed"]
        ((_, where),) = await kept.context.resolve("tcp://db.test:80")
        assert where == ("192.0.2.1", 80)


async def test_a_worker_learns_that_the_edge_drains_and_whenever_it_is_cancelled_nothing_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    kept = Kept()
    async with open_edge(edge_with(kept, drain_seconds=5)) as world:
        before = left_open()

        def check() -> None:
            assert left_open() == before

        for _ in range(2):
            with trio.move_on_after(1) as scope:
                await kept.context.wait_draining()
            assert scope.cancelled_caught
            check()
        client = await world.connect()
        world.edge.drain()
        await kept.context.wait_draining()
        assert client.outcome is None
        await kept.context.wait_draining()  # and at once from now on


async def test_a_resolve_that_is_cancelled_returns_nothing_later() -> None:
    kept = Kept()
    async with open_edge(edge_with(kept)):
        run: Any = kept.context._edge
        waiting: list[Any] = []
        run._resolver.ask = lambda address, on_answer, asker: waiting.append(on_answer)
        with trio.move_on_after(0.01) as scope:
            await kept.context.resolve("tcp://slow.test:80")
        assert scope.cancelled_caught
        waiting[0](())


async def test_the_context_names_the_addresses_that_the_edge_listens_on() -> None:
    kept = Kept()
    edge = te.Edge(["tcp://127.0.0.1:0", "tcp://[::1]:0"], [kept], te.Forward("tcp://127.0.0.1:1"))
    async with serving(edge):
        assert kept.context.listeners == edge.addresses
        assert [address.rpartition(":")[0] for address in kept.context.listeners] == ["tcp://127.0.0.1", "tcp://[::1]"]


def quick_hash(password: str) -> str:
    """A hash that costs next to nothing; the real one takes 50 ms."""
    salt = bytes(16)
    key = hashlib.scrypt(password.encode(), salt=salt, n=2, r=8, p=1, dklen=32)
    return f"scrypt:1:{b64encode(salt).decode()}:{b64encode(key).decode()}"


async def test_verify_says_whether_a_password_is_the_services() -> None:
    kept = Kept()
    settings = te.Settings(te.Policy(), te.Credentials(quick_hash("right")))
    off = te.Settings(te.Policy(enabled=False), te.Credentials(quick_hash("right")))
    control = te.MemoryControl({"shop": settings, "open": te.Policy(), "off": off})
    edge = te.Edge(
        "tcp://127.0.0.1:6380", [te.Identify("shop"), kept], te.Forward("tcp://192.0.2.9:1"), control=control
    )
    async with open_edge(edge):
        verify, recall = kept.context.verify, kept.context.recall
        assert recall("shop", "right") is None
        assert await verify("shop", "right")
        assert recall("shop", "right") is True
        assert not await verify("shop", "wrong")
        assert not await verify("open", "")
        assert not await verify("off", "right")
        assert not await verify("unknown", "right")
        assert [recall(name, "right") for name in ("off", "unknown")] == [False, False]
        await control.put("shop", te.Policy(enabled=False))
        assert not recall("shop", "right")


async def test_a_password_that_a_snapshot_changes_during_the_check_is_not_the_services_any_more() -> None:
    kept = Kept()
    control = te.MemoryControl({"shop": te.Settings(te.Policy(), te.Credentials(quick_hash("old")))})
    async with open_edge(edge_with(te.Identify("shop"), kept, control=control)):
        run: Any = kept.context._edge
        check = run._passwords.verify

        async def check_slowly(password: str, password_hash: str, *source: object) -> bool:
            right: bool = await check(password, password_hash, *source)
            assert right
            await control.put("shop", te.Settings(te.Policy(), te.Credentials(quick_hash("new"))))
            return right

        run._passwords.verify = check_slowly
        assert not await kept.context.verify("shop", "old")


async def test_a_source_is_a_session_or_an_address_and_its_prefix_is_the_key() -> None:
    control = te.MemoryControl({"shop": te.Settings(te.Policy(), te.Credentials(quick_hash("right")))})
    kept = Kept()
    edge = te.Edge(
        "tcp://127.0.0.1:0", [te.Identify("shop"), kept], te.Forward("tcp://192.0.2.9:6379"), control=control
    )
    async with open_edge(edge) as world:
        client = await world.connect("2001:db8::1")
        run: Any = kept.context._edge
        for source in (client.session, "2001:DB8::2", "::ffff:192.0.2.7", None):
            assert await edge.verify("shop", "right", source)
            assert not await edge.verify("shop", f"wrong {source}", source)
        assert not await kept.context.verify("unknown", "right", client.session)
        assert set(run._passwords._failures) == {client.session.source_key, bytes([192, 0, 2, 7])}
        with pytest.raises(te.ConfigurationError, match="'here' is not an IP address"):
            await edge.verify("shop", "right", "here")
