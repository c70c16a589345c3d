"""The dashboard of a real edge, in a browser, with clients that it counts and cuts."""

from contextlib import AsyncExitStack, suppress

import pytest
import trio

import trioedge as te
from tests.support.browser import open_page
from tests.support.edges import is_over
from tests.support.ports import free_ports
from tests.support.wires import server

pytestmark = pytest.mark.peer("chromium")

NAMES = {"127.0.0.2": "shop", "127.0.0.3": "<b>cafe</b>"}


def name_of(session: te.Session) -> str | None:
    return NAMES.get(session.source)


async def test_the_dashboard_of_a_real_edge_shows_its_sessions_and_cuts_those_of_a_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "right")
    public, admin = free_ports(2)
    control = te.MemoryControl({name: te.Policy(max_sessions=2) for name in NAMES.values()})
    async with server() as port, AsyncExitStack() as opened, trio.open_nursery() as nursery:
        edge = te.Edge(
            f"tcp://127.0.0.1:{public}",
            [te.Identify(name_of), te.SourceMatch(reject=["127.0.0.4"]), te.ConcurrencyLimit(per="service")],
            te.Forward(f"tcp://127.0.0.1:{port}"),
            control=control,
            name="a real edge",
            admin=te.Admin(f"tcp://127.0.0.1:{admin}", token=te.Secret(env="ADMIN_TOKEN")),
        )
        await nursery.start(edge.serve)

        async def connect(source: str) -> trio.SocketStream:
            sock = opened.enter_context(trio.socket.socket())
            await sock.bind((source, 0))
            await sock.connect(("127.0.0.1", public))
            return trio.SocketStream(sock)

        mine = [await connect("127.0.0.2") for _ in range(2)]
        other = await connect("127.0.0.3")
        for each in (*mine, other):
            await each.send_all(b"ping")
            assert await each.receive_some() == b"ping"
        with suppress(OSError):  # the reset may come while it still connects
            assert await is_over(await connect("127.0.0.2"))
        async with open_page(height=5_000) as page:
            await page.open(f"http://127.0.0.1:{admin}/")
            await page.says("dialog", "admin token")
            await page.type("right")
            await page.press("Enter")
            await page.says("#line", "live")
            await page.says("#name", "a real edge")
            await page.says("#workers tbody", "ready")
            await page.says("#services tbody", "2 of 2")
            await page.says("#services tbody", "<b>cafe</b>")
            await page.says("#refusals tbody", "concurrency")
            await page.says("#stages tbody", "ConcurrencyLimit")
            await page.says("#machine tbody", "descriptors")
            await page.says("#upstreams tbody", f"tcp://127.0.0.1:{port}")
            await page.says("#control", "answers")
            await page.says("#drain", "3 sessions")
            await page.tab_to("e.id === 'wanted'")
            await page.type("127.0.0.2")
            await page.press("Enter")
            await page.says("#lookup", "127.0.0.2: 2 sessions live; lately 1 refusal and 0 ends.")
            await page.tab_to("e.id === 'evict'")
            await page.press("Enter")
            await page.says("dialog", "This cuts 2 sessions of 127.0.0.2 at once")
            await page.press("Tab", "Enter")
            await page.says("dialog", "2 sessions of 127.0.0.2 cut.")
            assert [await is_over(each) for each in mine] == [True, True]
            await other.send_all(b"ping")
            assert await other.receive_some() == b"ping"
            assert [each for each in page.console if "401" not in each] == []
            assert await page.run("document.querySelectorAll('.fault:not([hidden])').length") == 0
        nursery.cancel_scope.cancel()
