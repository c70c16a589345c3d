"""Where a stage sends a session: one text, which is a destination if it has ``://``, and the name of a service else."""

from collections.abc import Iterable

import attrs

from ...addresses.address import Address, parse_address
from ...errors import MAX_FAULT_LETTERS, ConfigurationError, quote
from ...services.services import MAX_NAME_LENGTH
from ...session.session import Session


@attrs.frozen(slots=True)
class Route:
    """A destination or a service.

    Attributes:
        to: an address, or the name of a service.
    """

    to: Address | str

    def take(self, session: Session) -> None:
        """Send a session there. The chain refuses one whose service is unknown or disabled."""
        if isinstance(self.to, Address):
            session.destination = self.to
        else:
            session.service = self.to

    def __str__(self) -> str:
        return str(self.to)


def read_route(text: object, where: str) -> Route:
    """Read a route.

    Args:
        text: ``tcp://host:port``, ``unix:///path``, or a name of 1 to 255 letters.
        where: names its place in messages, as in ``SniRoute['a.example']``.

    Raises:
        ConfigurationError: it is neither, or a host and a port without ``tcp://``.
    """
    if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME_LENGTH:
        raise ConfigurationError(
            f"{where} = {quote(text, MAX_FAULT_LETTERS)} must be a destination, as in 'tcp://127.0.0.1:8443', or the "
            f"name of a service, of 1 to {MAX_NAME_LENGTH} letters"
        )
    if "://" not in text and not _is_host_and_port(text):
        return Route(text)
    try:
        return Route(parse_address(text))
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _is_host_and_port(text: str) -> bool:
    """Whether a text without a scheme must be meant as a destination, such as ``10.0.0.1:443``."""
    host, _, port = text.rpartition(":")
    return port.isdecimal() and (host == "localhost" or "." in host or host.endswith("]"))


def provided_by(routes: Iterable[Route]) -> tuple[str, ...]:
    """Give the session fields that routes write."""
    return tuple(sorted({"destination" if isinstance(route.to, Address) else "service" for route in routes}))
