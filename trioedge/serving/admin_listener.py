"""Where the admin API of an edge listens, and what it asks of its clients."""

from typing import Any

from ..addresses.address import Address, parse_address
from ..arguments import Fixed, check_count
from ..errors import ConfigurationError, quote
from ..secrets import Secret


class Admin(Fixed):
    """The admin API of an edge: ``te.Admin("unix:///run/edge.sock")``.

    A local socket is the edge's own user's: its mode is 0600. On a network a client must bring a token, as
    ``Authorization: Bearer …``; it goes over the wire as it is, so use a loopback address, or a TLS proxy before it.
    """

    def __init__(self, listen: str, *, token: Secret | None = None, metrics_services: int = 0) -> None:
        """Describe the API; nothing is opened, and the token is not read.

        Args:
            listen: ``unix:///run/edge.sock``, or ``tcp://127.0.0.1:9100`` with a token.
            token: what a client must bring, read at each request; also for a local socket, if it is given.
            metrics_services: how many of the busiest services have samples of their own in the metrics, 0 to 1,000; all
                others are one there. With 0 services have no samples.

        Raises:
            ConfigurationError: `listen` is no address, or is one of a network and there is no token.
        """
        self.address: Address = parse_address(listen, listening=True)
        self.listen = str(self.address)
        if token is not None and not isinstance(token, Secret):
            raise ConfigurationError(
                "Admin(token=…) must be a Secret, so that no log shows it: write token=te.Secret(file='/run/token'), "
                "or env="
            )
        if self.address.scheme != "unix" and token is None:
            raise ConfigurationError(
                f"Admin(listen={quote(self.listen)}) is open to a network and needs a token: write "
                "token=te.Secret(file='/run/token'), or listen on a local socket, as in unix:///run/edge.sock"
            )
        check_count("Admin", "metrics_services", metrics_services, minimum=0, maximum=1_000)
        self.token, self.metrics_services = token, metrics_services

    def __repr__(self) -> str:
        token = "" if self.token is None else f", token={self.token!r}"
        services = f", metrics_services={self.metrics_services}" if self.metrics_services else ""
        return f"Admin({self.listen!r}{token}{services})"


def read_admin(admin: Any) -> Admin | None:
    """Read the argument `admin` of an edge.

    Raises:
        ConfigurationError: names what to write instead.
    """
    if admin is None or isinstance(admin, Admin):
        return admin
    if not isinstance(admin, str):
        raise ConfigurationError(
            f"admin={quote(admin)} must be a local socket, as in unix:///run/edge.sock, or te.Admin(…)"
        )
    try:
        return Admin(admin)
    except ConfigurationError as error:
        raise ConfigurationError(f"admin={quote(admin)}: {error}") from None
