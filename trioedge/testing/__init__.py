"""Test a whole edge in milliseconds: a fake clock, clients in memory, an upstream that does what a test says.

Nothing in trioedge imports this; it imports trioedge.
"""

from .checks import check_decision as check_decision
from .checks import check_middleware as check_middleware
from .context import make_context as make_context
from .endpoint_checks import check_endpoint as check_endpoint
from .outbound_checks import check_outbound as check_outbound
from .rehearsal import Client as Client
from .rehearsal import Rehearsal as Rehearsal
from .rehearsal import open_edge as open_edge
from .sessions import make_session as make_session
from .upstream import ScriptedUpstream as ScriptedUpstream
from .upstream import echo as echo

__all__ = [
    "Client",
    "Rehearsal",
    "ScriptedUpstream",
    "check_decision",
    "check_endpoint",
    "check_middleware",
    "check_outbound",
    "echo",
    "make_context",
    "make_session",
    "open_edge",
]
