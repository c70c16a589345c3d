"""The kinds of parts that a plugin may be, their groups of entry points, and the names of the parts that ship."""

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

PLUGIN_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
"""The name of a plugin: lower-case letters, digits and hyphens, a letter first."""


class Kind(StrEnum):
    """A kind of part that a plugin may be."""

    STAGE = "stage"
    ENDPOINT = "endpoint"
    OUTBOUND = "outbound"
    CONTROL = "control"
    OBSERVER = "observer"

    @property
    def noun(self) -> str:
        """The kind in a sentence: ``a stage``, ``an endpoint``."""
        noun = "control plane" if self is Kind.CONTROL else str(self)
        return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


GROUPS: Final[Mapping[Kind, str]] = MappingProxyType({kind: f"trioedge.{kind}s" for kind in Kind})
"""The groups of entry points: ``trioedge.stages``, ``trioedge.endpoints`` and so on."""

BUILT_IN: Final[Mapping[Kind, Mapping[str, str]]] = MappingProxyType(
    {
        Kind.STAGE: {
            "identify": "trioedge.stages.identify:Identify",
            "identify-by-sni": "trioedge.stages.identify:IdentifyBySni",
            "source-match": "trioedge.stages.source_match:SourceMatch",
            "session-gate": "trioedge.stages.session_gate:SessionGate",
            "concurrency-limit": "trioedge.stages.concurrency_limit:ConcurrencyLimit",
            "device-limit": "trioedge.stages.devices.device_limit:DeviceLimit",
            "pacing": "trioedge.stages.pacing.pacing:Pacing",
            "idle-timeout": "trioedge.stages.idle_timeout:IdleTimeout",
            "destination-match": "trioedge.stages.destination_match:DestinationMatch",
            "proxy-protocol": "trioedge.stages.handshakes.proxy_protocol:ProxyProtocol",
            "tls": "trioedge.stages.handshakes.tls:Tls",
            "sni-route": "trioedge.stages.handshakes.sni_route:SniRoute",
            "socks": "trioedge.stages.handshakes.socks:Socks",
            "http-connect": "trioedge.stages.handshakes.http_connect:HttpConnect",
            "detect": "trioedge.stages.handshakes.detect:Detect",
        },
        Kind.ENDPOINT: {
            "forward": "trioedge.endpoints.forward:Forward",
            "asgi": "trioedge.endpoints.asgi.asgi:Asgi",
        },
        Kind.OUTBOUND: {
            "direct": "trioedge.upstreams.direct:Direct",
            "via": "trioedge.upstreams.ways.via:Via",
            "balanced": "trioedge.upstreams.balancing.balanced:Balanced",
        },
        Kind.CONTROL: {
            "file": "trioedge.control.file:FileControl",
            "http": "trioedge.control.http:HttpControl",
        },
        Kind.OBSERVER: {},
    }
)
"""The parts that ship, by kind and name. A MemoryControl is not among them, because a program calls its methods."""
