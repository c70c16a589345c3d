"""The outbound that connects through upstream proxies: the recipe."""

import ssl

from ...arguments import Fixed, flag_fault
from ...errors import ConfigurationError, quote
from ...secrets import Secret, secret_text
from ...services.context import EdgeContext
from ..own_listeners import own_listener
from .live_via import LiveVia
from .proxy_url import parse_proxy_url


class Via(Fixed):
    """Connect through a SOCKS or HTTP proxy, or through several, one behind the other.

    The first proxy is connected to from this machine, as `Direct` connects; each one connects to the next, and the last
    one to the destination. All of it together has the `connect_seconds` of the endpoint. A session has a task, but its
    bytes are relayed in the reactor, unless a proxy is ``https://``.

    The edge resolves the destination's name, and judges its addresses, before it asks a proxy for one of them. With
    `remote_names` the last proxy resolves it: then ``Forward(allow=…)`` judges destinations that are written as
    addresses only, and a name may lead the proxy anywhere. A name that the networks of a :class:`.DestinationMatch`
    are to judge is resolved by the edge all the same.
    """

    def __init__(
        self,
        proxy: str | Secret,
        *further: str | Secret,
        remote_names: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Describe the proxies; nothing is connected before the edge serves.

        Args:
            proxy: ``socks5://host:port``, ``socks4://…``, ``http://…`` (CONNECT) or ``https://…`` (the same in TLS). A
                login is ``user:password@`` before the host, ``user@`` for SOCKS4, special characters as ``%40``. It is
                never shown; a :class:`~trioedge.Secret` has it in a file or a variable, and is read now.
            further: the proxies behind it, in order; their names are resolved by the proxy before each.
            remote_names: let the last proxy resolve names.
            tls: for proxies that are ``https://``; the system's certificates and the proxy's name count if None.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        self.proxies = tuple(parse_proxy_url(secret_text(each)) for each in (proxy, *further))
        if fault := flag_fault(remote_names):
            raise ConfigurationError(f"Via(remote_names={quote(remote_names)}) {fault}")
        if tls is not None and not isinstance(tls, ssl.SSLContext):
            raise ConfigurationError(f"Via(tls={quote(tls)}) must be an ssl.SSLContext")
        self.remote_names = remote_names
        self.tls = tls

    def __repr__(self) -> str:
        names = ", remote_names=True" if self.remote_names else ""
        return f"Via({', '.join(repr(str(each)) for each in self.proxies)}{names})"

    def open(self, context: EdgeContext) -> LiveVia:
        """Make the live outbound of one run of an edge.

        Raises:
            ConfigurationError: the first proxy is the edge itself.
        """
        if (listener := own_listener(self.proxies[0].address, context.listeners)) is not None:
            raise ConfigurationError(
                f"{self!r} begins at {listener}, where this edge itself listens: its sessions would come back for ever"
            )
        return LiveVia(self.proxies, context, self.tls, remote_names=self.remote_names)
