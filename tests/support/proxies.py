"""Small upstream proxies on loopback, which note what they are asked for and answer as a test wants."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import attrs
import trio

from tests.support.wires import receive_exactly, server

Answer = Callable[[trio.SocketStream, str, int], Awaitable[bool]]


@attrs.define
class Noted:
    """What a proxy was asked for.

    Attributes:
        url: of the proxy, without a login.
        asked: hosts and ports, in order.
        logins: the logins of SOCKS clients, and the values of HTTP's Proxy-Authorization.
        heads: the requests of HTTP clients.
    """

    url: str = ""
    asked: list[str] = attrs.field(factory=list)
    logins: list[bytes] = attrs.field(factory=list)
    heads: list[bytes] = attrs.field(factory=list)


@asynccontextmanager
async def socks5(
    *, login: tuple[str, str] | None = None, reply: int = 0, leads_to: int | None = None, greeting: bytes = b""
) -> AsyncIterator[Noted]:
    """Serve SOCKS5.

    Args:
        login: the only one that is good; None for no login.
        reply: its answer; 0 to connect.
        leads_to: the port on loopback to connect to, whatever it is asked for; None for the one that it is asked for.
        greeting: bytes that are sent with the answer, in one piece.
    """
    noted = Noted()

    async def serve(client: trio.SocketStream) -> None:
        _, count = await read(client, 2)
        methods = await read(client, count)
        wanted = 0 if login is None else 2
        await client.send_all(bytes([5, wanted if wanted in methods else 255]))
        if login is not None and wanted in methods:
            user = await read(client, (await read(client, 2))[1])
            password = await read(client, (await read(client, 1))[0])
            noted.logins.append(user + b":" + password)
            good = (user.decode(), password.decode()) == login
            await client.send_all(bytes([1, not good]))
            if not good:
                return
        kind = (await read(client, 4))[3]
        if kind == 3:
            host = (await read(client, (await read(client, 1))[0])).decode()
        else:
            host = str(ip_address(await read(client, 4 if kind == 1 else 16)))
        port = int.from_bytes(await read(client, 2))
        noted.asked.append(f"{host}:{port}")
        if reply:
            await client.send_all(bytes([5, reply, 0, 1, 0, 0, 0, 0, 0, 0]))
            return
        async with await trio.open_tcp_stream("127.0.0.1", leads_to or port) as upstream:
            await client.send_all(bytes([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + greeting)
            await join(client, upstream)

    async with server(serve) as port:
        noted.url = f"socks5://127.0.0.1:{port}"
        yield noted


@asynccontextmanager
async def http(
    *,
    answer: bytes = b"HTTP/1.1 200 OK\r\nVia: 1.1 x\r\n\r\n",
    piece: int = 10_000,
    greeting: bytes = b"",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Noted]:
    """Serve CONNECT.

    Args:
        answer: sent to each request.
        piece: bytes that are sent at a time.
        greeting: bytes that are sent behind the answer, in one piece with its end.
        tls: of a server, to serve it in TLS; None for plain.
    """
    noted = Noted()

    async def serve(connection: trio.SocketStream) -> None:
        client: Any = connection if tls is None else trio.SSLStream(connection, tls, server_side=True)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await read(client, 1)
        noted.heads.append(head)
        target = head.split()[1].decode()
        noted.asked.append(target)
        noted.logins += [line[21:] for line in head.split(b"\r\n") if line.startswith(b"Proxy-Authorization: ")]
        whole = answer + greeting
        for start in range(0, len(whole), piece):
            await client.send_all(whole[start : start + piece])
            await trio.sleep(0.001 if piece < len(whole) else 0)
        if answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\n"):
            async with await trio.open_tcp_stream("127.0.0.1", int(target.rpartition(":")[2])) as upstream:
                await join(client, upstream)

    async with server(serve) as port:
        noted.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
        yield noted


async def read(client: Any, count: int) -> bytes:
    """Read so many bytes of a client; one that left ends its session."""
    data = await receive_exactly(client, count)
    if len(data) < count:
        raise trio.BrokenResourceError
    return data


async def join(one: Any, two: Any) -> None:
    """Carry bytes both ways until both have ended, or one is broken."""

    async def carry(source: Any, sink: Any) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
            await (sink.aclose() if isinstance(sink, trio.SSLStream) else sink.send_eof())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry, one, two)
        nursery.start_soon(carry, two, one)
