"""Test a whole edge in milliseconds: clients and upstreams in memory, under a fake clock; and check single parts.

No other package of trioedge imports this one, but for the command line, which checks plugins.
"""

from .checks import check_decision as check_decision
from .checks import check_middleware as check_middleware
from .context import make_context as make_context
from .control_checks import check_control as check_control
from .endpoint_checks import check_endpoint as check_endpoint
from .fake_link import FakeLink as FakeLink
from .handshakes import Conversed as Conversed
from .handshakes import check_handshake as check_handshake
from .handshakes import converse as converse
from .observer_checks import check_observer as check_observer
from .outbound_checks import check_outbound as check_outbound
from .plugin_checks import check_plugin as check_plugin
from .rehearsal import Client as Client
from .rehearsal import Rehearsal as Rehearsal
from .rehearsal import open_edge as open_edge
from .sessions import make_session as make_session
from .upstream import ScriptedUpstream as ScriptedUpstream
from .upstream import echo as echo

__all__ = [
    "Client",
    "Conversed",
    "FakeLink",
    "Rehearsal",
    "ScriptedUpstream",
    "check_control",
    "check_decision",
    "check_endpoint",
    "check_handshake",
    "check_middleware",
    "check_observer",
    "check_outbound",
    "check_plugin",
    "converse",
    "echo",
    "make_context",
    "make_session",
    "open_edge",
]
