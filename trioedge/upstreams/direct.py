"""The outbound that connects from this machine."""

from typing import Final, Literal

import attrs

from ..arguments import check_choice
from ..services.context import EdgeContext
from .connector import Connector
from .introduction import Introduction

_VERSIONS: Final[dict[str, Literal[1, 2]]] = {"v1": 1, "v2": 2}


def _check_version(direct: "Direct", attribute: object, version: object) -> None:  # noqa: ARG001 - attrs' shape
    if version is not None:
        check_choice("Direct", "proxy_protocol", version, tuple(_VERSIONS))


@attrs.frozen
class Direct:
    """Connect from this machine, with its own routes and the edge's resolver.

    Names are resolved in the background and answered from memory. Of several addresses the first one that answers is
    used; each is tried 250 ms after the one before (RFC 8305).

    Attributes:
        proxy_protocol: ``v1`` or ``v2``: each upstream first gets a header of the PROXY protocol, which names the
            source of its session and the address at which it was accepted; None for no header. The upstream has to
            expect it. The header's bytes are not counted.

    Raises:
        ConfigurationError: `proxy_protocol` is none of these.
    """

    proxy_protocol: Literal["v1", "v2"] | None = attrs.field(default=None, kw_only=True, validator=_check_version)

    def open(self, context: EdgeContext) -> Connector:
        """Make the live outbound of one run of an edge."""
        version = self.proxy_protocol
        introduction = None if version is None else Introduction(_VERSIONS[version])
        return Connector(context.reactor, context.resolver, introduction)
