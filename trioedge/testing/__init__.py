"""Test a whole edge in milliseconds: a fake clock, clients in memory, an upstream that does what you say.

Nothing in trioedge imports this; it imports trioedge.
"""

from .checks import check_decision as check_decision
from .checks import check_middleware as check_middleware
from .context import make_context as make_context
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
    "check_middleware",
    "echo",
    "make_context",
    "make_session",
    "open_edge",
]
