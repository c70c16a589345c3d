"""Sessions of an application leave none of the edge's objects for the garbage collector, however they end."""

import gc
import socket
from collections import Counter

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.applications import Application, Message, Receive, Send, edge_of, response
from tests.support.wires import connect, receive_all, serving

SESSIONS = 5


async def breaks(scope: Message, receive: Receive, send: Send) -> None:
    raise LookupError("as told")


async def live(edge: te.Edge, port: int, how: str) -> None:
    """Have one session, from accept to its end."""
    async with await connect(port) as client:
        path = b"/breaks" if how == "a fault" else b"/"
        if how != "silent":
            await client.send_all(b"GET " + path + b" HTTP/1.1\r\nHost: e\r\n\r\n")
            await response(client)
        else:
            while not edge.sessions:
                await trio.sleep(0.001)
        if how == "evicted":
            edge.evict(source="127.0.0.1")
        elif how == "reset":
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif how == "a fault":
            assert await receive_all(client) == b""
    while edge.sessions:
        await trio.sleep(0.001)


@pytest.mark.parametrize("how", ["finished", "evicted", "reset", "a fault", "silent"])
async def test_an_ended_session_leaves_nothing_of_the_edge_for_the_collector(how: str) -> None:
    with capture_logs():
        edge = edge_of(Application(breaks=breaks))
        async with serving(edge) as port:
            await live(edge, port, how)  # what is made once
            gc.collect()
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                for _ in range(SESSIONS):
                    await live(edge, port, how)
                gc.collect()
                found = Counter(type(each).__name__ for each in gc.garbage if is_ours(each))
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()
    assert found == {}


def is_ours(thing: object) -> bool:
    return type(thing).__module__.startswith("trioedge.")
