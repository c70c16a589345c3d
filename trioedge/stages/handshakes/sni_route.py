"""Route TLS by the name that the client asks for, without terminating it."""

from collections.abc import Mapping

from ...addresses.address import is_host_name, packed_ip
from ...arguments import Fixed
from ...errors import ConfigurationError, quote
from ...session.handshake import Steps
from ...session.session import Session
from ...session.verdict import CONTINUE, Reason, Reject
from ...wire.client_hello import MAX_BYTES
from .hello import peek_hello, refuse_hello
from .route import Route, provided_by, read_route


class SniRoute(Fixed):
    """Send each TLS session where its server name says, still encrypted.

    It reads the client's hello, however it is cut into records, and leaves it for the upstream. The server name
    (RFC 6066 section 3) chooses a service or a destination: the name itself first, then a wildcard. Decisions behind it
    find the hello in ``session.state[ClientHello]``. Costs some 5 µs, and no task.

    A client is refused with an alert of TLS: with reason ``service`` if its name has no route and there is no
    `default`, with ``protocol`` if its bytes are no hello of at most 16 KiB, with ``handshake`` if the hello is not
    there whole within 10 s.
    """

    seconds = 10.0
    max_bytes = MAX_BYTES

    def __init__(self, routes: Mapping[str, str], *, default: str | None = None) -> None:
        """Read the routes.

        Args:
            routes: by server name, in any case: a destination if the text has ``://``, as in
                ``tcp://127.0.0.1:8443``, and the name of a service else. ``*.example.com`` is for names with one label
                more, as certificates have it: ``a.example.com``, neither ``example.com`` nor ``b.a.example.com``.
            default: the same for a name without a route, and for a client that names none; None refuses both.

        Raises:
            ConfigurationError: names the route and its fault, or there is none.
        """
        if not isinstance(routes, Mapping) or not (routes or default):
            raise ConfigurationError(
                f"SniRoute({quote(routes)}) must have routes by server name, as in {{'a.example': 'tcp://10.0.0.1:443'}}"
            )
        self._exact: dict[str, Route] = {}
        self._below: dict[str, Route] = {}
        for name, to in routes.items():
            where = f"SniRoute[{quote(name)}]"
            table, key = self._place(name, where)
            if key in table:
                raise ConfigurationError(f"{where} is there twice: names of hosts have no case, and no dot at the end")
            table[key] = read_route(to, where)
        self._default = None if default is None else read_route(default, "SniRoute(default)")
        every = [*self._exact.values(), *self._below.values(), *([self._default] if self._default else [])]
        self.provides = provided_by(every)

    def _place(self, name: object, where: str) -> tuple[dict[str, Route], str]:
        """Give the table of a server name, and its key there."""
        host = name.lower().removesuffix(".") if isinstance(name, str) else ""
        bare = host.removeprefix("*.")
        if not host.isascii() and is_host_name(_encoded(bare)):
            raise ConfigurationError(f"{where} must be written as clients send it: {_encoded(bare)!r}")
        if not is_host_name(bare) or packed_ip(bare) is not None:
            raise ConfigurationError(f"{where} is no server name, as in 'a.example' or '*.example'")
        return (self._exact, host) if bare == host else (self._below, bare)

    def __repr__(self) -> str:
        default = f", default={str(self._default)!r}" if self._default else ""
        count = len(self._exact) + len(self._below)
        return f"SniRoute({count} {'route' if count == 1 else 'routes'}{default})"

    def converse(self, session: Session) -> Steps:
        """Wait for the hello and route the session by it."""
        hello = yield from peek_hello(session)
        if isinstance(hello, Reject):
            return hello
        name, route = hello.server_name, None
        if name is not None:
            route = self._exact.get(name) or self._below.get(name.partition(".")[2])
        route = route or self._default
        if route is None:
            detail = "the client names no host" if name is None else f"no route for {name}"
            return (yield from refuse_hello(hello, Reject(Reason.SERVICE, detail)))
        route.take(session)
        if session.refusal is not None:
            return (yield from refuse_hello(hello, session.refusal))
        return CONTINUE


def _encoded(host: str) -> str:
    """Write a name with other letters as resolvers and certificates have it; an empty text if there is no such name."""
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return ""
