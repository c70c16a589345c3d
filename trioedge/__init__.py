"""trioedge: an edge proxy out of a few stages in Python, at layer-4 latency.

Floors, whose imports point down only:

    core        what can be known without waiting: verdicts, sessions, chains, tables
    runtime     trio: listeners, the reactor, relays, connections
    stages, endpoints, outbounds     what users put into a chain; siblings do not know each other
    edge, cli   put it together
    testing     an edge under a fake clock; beside the top floor, and nothing imports it
"""

from .core.chain import Chain as Chain
from .core.chain import compile_chain as compile_chain
from .core.errors import ConfigurationError as ConfigurationError
from .core.errors import EdgeError as EdgeError
from .core.errors import ListenError as ListenError
from .core.errors import UpstreamError as UpstreamError
from .core.session import Session as Session
from .core.stage import Decision as Decision
from .core.stage import Endpoint as Endpoint
from .core.stage import Handler as Handler
from .core.stage import Middleware as Middleware
from .core.stage import Worker as Worker
from .core.stage import decision as decision
from .core.stage import middleware as middleware
from .core.verdict import CONTINUE as CONTINUE
from .core.verdict import Completed as Completed
from .core.verdict import Outcome as Outcome
from .core.verdict import Reason as Reason
from .core.verdict import Reject as Reject
from .core.verdict import Verdict as Verdict
from .edge import Edge as Edge
from .edge import ExitCode as ExitCode
from .edge import Statistics as Statistics
from .edge import run as run
from .endpoints.forward import Forward as Forward
from .outbounds.direct import Direct as Direct
from .stages.concurrency_limit import ConcurrencyLimit as ConcurrencyLimit
from .stages.idle_timeout import IdleTimeout as IdleTimeout
from .stages.session_gate import SessionGate as SessionGate
from .stages.source_match import SourceMatch as SourceMatch

__all__ = [
    "CONTINUE",
    "Chain",
    "Completed",
    "ConcurrencyLimit",
    "ConfigurationError",
    "Decision",
    "Direct",
    "Edge",
    "EdgeError",
    "Endpoint",
    "ExitCode",
    "Forward",
    "Handler",
    "IdleTimeout",
    "ListenError",
    "Middleware",
    "Outcome",
    "Reason",
    "Reject",
    "Session",
    "SessionGate",
    "SourceMatch",
    "Statistics",
    "UpstreamError",
    "Verdict",
    "Worker",
    "compile_chain",
    "decision",
    "middleware",
    "run",
]
