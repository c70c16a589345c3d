"""Proxies one behind the other. python-socks speaks their protocols; this gives it connections and reads its errors.

It connects nothing itself here: its first proxy is reached by the edge's connector, with the edge's names and limits.
"""

import ssl
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final

import trio

from ...addresses.address import Address
from ...errors import message_of
from ...relay.direction import BROKEN
from ...relay.stream_relay import close_hard
from ...relay.streams import PlainStream, replaying
from ...session.verdict import Reason
from ..connector import Connecting, Target
from ..errors import UpstreamError
from .proxy_url import ProxyUrl

MAX_HEAD_BYTES: Final = 16_384
"""The answer of an HTTP proxy, up to the empty line."""

_LOGIN_REFUSED: Final = ("Username and password", "No acceptable")
"""How python-socks' errors begin where a SOCKS5 proxy refuses a login, or wants one."""

_NO_LIMIT: Final = inf
"""Of a step: all steps together have the limit of the session's connect."""

_END_OF_HEAD: Final = b"\r\n\r\n"

_REFUSED, _UNREACHABLE = Reason.UPSTREAM_REFUSED, Reason.UPSTREAM_UNREACHABLE
_FORBIDDEN, _TIMEOUT = Reason.UPSTREAM_FORBIDDEN, Reason.UPSTREAM_TIMEOUT

_REPLIES: Final[Mapping[str, Mapping[int, tuple[Reason, str]]]] = {
    "socks5": {  # RFC 1928 section 6
        1: (_UNREACHABLE, "general failure"),
        2: (_FORBIDDEN, "not allowed by its rules"),
        3: (_UNREACHABLE, "network unreachable"),
        4: (_UNREACHABLE, "host unreachable"),
        5: (_REFUSED, "connection refused"),
        6: (_UNREACHABLE, "time to live expired"),
        7: (_UNREACHABLE, "it does not know CONNECT"),
        8: (_UNREACHABLE, "it does not know this kind of address"),
    },
    "socks4": {
        91: (_UNREACHABLE, "rejected or failed"),
        92: (_FORBIDDEN, "it cannot ask this machine who the user is"),
        93: (_FORBIDDEN, "this machine says that it is another user"),
    },
    "http": {
        401: (_FORBIDDEN, "it wants another login"),
        403: (_FORBIDDEN, "not allowed by its rules"),
        407: (_FORBIDDEN, "it wants another login"),
        502: (_UNREACHABLE, "no connection"),
        503: (_UNREACHABLE, "no connection"),
        504: (_TIMEOUT, "no answer in time"),
    },
}
"""What a proxy answers, as a reason and in words. The words of the proxy itself are not shown: it may echo a login."""


class ProxyReplyError(UpstreamError):
    """A proxy answered that it does not connect."""


class ProxyChain:
    """Connects through proxies."""

    def __init__(self, proxies: Sequence[ProxyUrl], connector: Connecting, tls: ssl.SSLContext | None) -> None:
        """Connect nothing yet.

        Args:
            proxies: at least one.
            connector: connects to the first one.
            tls: for proxies that are ``https://``; one with the system's certificates if None.
        """
        if tls is None and any(each.scheme == "https" for each in proxies):
            tls = ssl.create_default_context()
        self._first = _FirstHop(connector)
        hop: _FirstHop | _Hop = self._first
        for each in proxies:
            hop = _Hop(each, hop, tls)
        self._last = hop

    async def connect(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        """Connect to a host, a name or an address, through all proxies; after a cancel nothing is left open.

        Raises:
            ProxyReplyError: a proxy does not connect to the next one, or to the host.
            UpstreamError: there is no connection to a proxy, or it does not speak its protocol.
        """
        return (await self._last.connect(host, port)).whole()


class _FirstHop:
    """The connection to the first proxy, in the shape of a proxy before it."""

    def __init__(self, connector: Connecting) -> None:
        self._connector = connector

    async def connect(self, dest_host: str, dest_port: int) -> "_HopStream":
        address = Address("tcp", dest_host, dest_port)
        return _HopStream(await self._connector.open_stream(Target(address, _NO_LIMIT, retries=0)))


class _Hop:
    """One proxy, behind another one or the first hop."""

    def __init__(self, proxy: ProxyUrl, before: "_FirstHop | _Hop", tls: ssl.SSLContext | None) -> None:
        from python_socks import ProxyError, ProxyType
        from python_socks.async_.trio.v2 import Proxy

        self._proxy = proxy
        self._error: Any = ProxyError
        self._speaks: Any = Proxy(
            ProxyType[proxy.scheme.removesuffix("s").upper() if proxy.scheme == "https" else proxy.scheme.upper()],
            proxy.address.host,
            proxy.address.port,
            proxy.username,
            proxy.password,
            rdns=True,  # what is still a name is the proxy's to resolve
            proxy_ssl=tls if proxy.scheme == "https" else None,
            forward=before,  # type: ignore[arg-type]  # it calls connect() only
        )

    async def connect(self, dest_host: str, dest_port: int) -> "_HopStream":
        """Connect to a host through this proxy, in the shape that python-socks calls."""
        where = f"{Address('tcp', dest_host, dest_port)} via {self._proxy}"
        try:
            stream: _HopStream = await self._speaks.connect(dest_host, dest_port, timeout=_NO_LIMIT)
        except self._error as error:
            raise self._read(error, where) from None
        except BROKEN as error:
            cause = error.__cause__
            if isinstance(cause, ssl.SSLError):
                raise UpstreamError(_UNREACHABLE, f"{where}: TLS failed: {message_of(cause)}") from None
            raise UpstreamError(_UNREACHABLE, f"{where}: the proxy hung up") from None
        return stream

    def _read(self, error: Any, where: str) -> UpstreamError:
        """Give the reason of a proxy's answer."""
        scheme = "http" if self._proxy.scheme == "https" else self._proxy.scheme
        code = error.error_code
        if code is None and str(error).startswith(_LOGIN_REFUSED):
            return UpstreamError(_FORBIDDEN, f"{where}: the proxy refuses the login")
        if code is None:
            return UpstreamError(_UNREACHABLE, f"{where}: the proxy hung up, or does not speak {scheme}")
        reason, words = _REPLIES[scheme].get(int(code), (_UNREACHABLE, "no connection"))
        return ProxyReplyError(reason, f"{where}: answer {int(code)}, {words}")


class _HopStream:
    """A stream in the shape that python-socks reads and writes.

    It never reads more than an answer: what comes behind one is the destination's. And it reads all of the head of an
    HTTP answer, where python-socks would take the first bytes that come for the whole of it.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._held = bytearray()  # read, and not given yet

    async def write(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def read(self, max_bytes: int = 0) -> bytes:  # noqa: ARG002 - the shape of python-socks
        """Read the head of an HTTP answer; nothing if it does not end, or is too long."""
        held = self._held
        while (end := held.find(_END_OF_HEAD)) < 0:
            data = await self._stream.receive_some(4096) if len(held) < MAX_HEAD_BYTES else b""
            if not data:
                return b""
            held += data
        return self._take(end + len(_END_OF_HEAD))

    async def read_exactly(self, n: int) -> bytes:
        """Read so many bytes.

        Raises:
            trio.BrokenResourceError: the stream ends before.
        """
        while len(self._held) < n:
            data = await self._stream.receive_some(n - len(self._held))
            if not data:
                raise trio.BrokenResourceError("the proxy hung up")
            self._held += data
        return self._take(n)

    def _take(self, count: int) -> bytes:
        data = bytes(self._held[:count])
        del self._held[:count]
        return data

    async def start_tls(self, hostname: str, ssl_context: ssl.SSLContext) -> "_HopStream":
        """Speak TLS from now on, with a proxy whose name is verified."""
        tls = trio.SSLStream(self._stream, ssl_context, server_hostname=hostname, https_compatible=True)
        await tls.do_handshake()
        return _HopStream(tls)

    async def close(self) -> None:
        await close_hard(self._stream)

    def whole(self) -> trio.abc.HalfCloseableStream:
        """Give the stream, with the bytes that the destination has sent already."""
        stream = self._stream
        if self._held:
            if not isinstance(stream, PlainStream):
                stream = replaying(stream)
            stream.unread(bytes(self._held))
        found: trio.abc.HalfCloseableStream = stream  # or one without a half-close, of which the relay asks
        return found
