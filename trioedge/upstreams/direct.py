"""The outbound that connects from this machine, in clear or with TLS."""

import ssl
from collections.abc import Iterable
from typing import Any, Final, Literal

import attrs

from ..arguments import check_choice
from ..errors import ConfigurationError, quote
from ..services.context import EdgeContext
from .connector import Connector
from .introduction import Introduction
from .tls.tls_connector import TlsConnector

_VERSIONS: Final[dict[str, Literal[1, 2]]] = {"v1": 1, "v2": 2}


def _check_version(direct: "Direct", attribute: object, version: object) -> None:  # noqa: ARG001 - attrs' shape
    if version is not None:
        check_choice("Direct", "proxy_protocol", version, tuple(_VERSIONS))


def _texts(values: Iterable[str]) -> Any:
    return (values,) if isinstance(values, str) or not isinstance(values, Iterable) else tuple(values)


@attrs.frozen
class Direct:
    """Connect from this machine, with its own routes and the edge's resolver.

    Names are resolved in the background and answered from memory. Of several addresses the first one that answers is
    used; each is tried 250 ms after the one before (RFC 8305).

    With `tls` the edge speaks TLS 1.2 or 1.3 to its upstreams, in the reactor, without a task. An upstream whose
    certificate is not trusted, or is not for its name, ends the session with ``upstream_tls``. The handshake is within
    ``connect_seconds``, and is over before a session comes to a preconnected upstream.

    Attributes:
        tls: True to verify certificates by the authorities that the system trusts; or an `ssl.SSLContext` of a client
            with others, with a certificate of the edge's own, or without checks.
        alpn: protocols to offer inside TLS, the preferred one first. With a context of your own set them there.
        server_name: the name that an upstream is asked for and must have in its certificate; None for the host of its
            address. A local socket has no name, so it needs this one.
        proxy_protocol: ``v1`` or ``v2``: each upstream first gets a header of the PROXY protocol, which names the
            source of its session and the address at which it was accepted; None for no header. The upstream has to
            expect it. The header's bytes are not counted. Not with `tls`, which has begun before a session comes.

    Raises:
        ConfigurationError: names the argument, its fault and the mend.
    """

    tls: bool | ssl.SSLContext = False
    alpn: tuple[str, ...] = attrs.field(default=(), converter=_texts, kw_only=True)
    server_name: str | None = attrs.field(default=None, kw_only=True)
    proxy_protocol: Literal["v1", "v2"] | None = attrs.field(default=None, kw_only=True, validator=_check_version)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.tls, (bool, ssl.SSLContext)):
            raise ConfigurationError(f"Direct(tls={quote(self.tls)}) must be True, False or an ssl.SSLContext")
        for each in self.alpn:
            if not isinstance(each, str) or not each.isascii() or not 0 < len(each) < 256:
                raise ConfigurationError(f"Direct(alpn) has {quote(each)}: write a protocol, as in ['http/1.1']")
        if self.server_name is not None and (not isinstance(self.server_name, str) or not self.server_name):
            raise ConfigurationError(f"Direct(server_name={quote(self.server_name)}) must be the name of a host")
        if fault := self._fault():
            raise ConfigurationError(fault)

    def _fault(self) -> str:
        """Say why the arguments do not fit together; an empty text if they do."""
        if self.tls is False:
            wrong = self.alpn or self.server_name is not None
            return "Direct(alpn=…, server_name=…) need TLS: write Direct(tls=True, …)" if wrong else ""
        if self.proxy_protocol is not None:
            return "Direct(tls=…, proxy_protocol=…): the header precedes TLS, which has begun before a session comes"
        if self.tls is not True and self.tls.protocol == ssl.PROTOCOL_TLS_SERVER:
            return "Direct(tls=…) has the context of a server: make it with ssl.create_default_context()"
        if self.tls is not True and self.alpn:
            return "Direct(alpn=…) and a context of your own: call its set_alpn_protocols()"
        return ""

    def open(self, context: EdgeContext) -> Connector:
        """Make the live outbound of one run of an edge."""
        tls, version = self.tls, self.proxy_protocol
        if tls is False:
            introduction = None if version is None else Introduction(_VERSIONS[version])
            return Connector(context.reactor, context.resolver, introduction)
        if tls is True:
            tls = ssl.create_default_context()
            tls.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.alpn:
                tls.set_alpn_protocols(list(self.alpn))
        return TlsConnector(context.reactor, context.resolver, tls, self.server_name)
