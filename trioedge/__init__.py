"""trioedge: an edge proxy out of a few stages in Python, at layer-4 latency.

Floors, whose imports point down only:

    core        what can be known without waiting: verdicts, sessions, chains, tables
    runtime     trio: listeners, the reactor, relays, connections
    stages, endpoints, outbounds, control     what users put into an edge; siblings do not know each other
    edge, process, cli   put it together
    testing     an edge under a fake clock; beside the top floor, and nothing imports it
"""

from .control.file import FileControl as FileControl
from .control.http import HttpControl as HttpControl
from .control.memory import MemoryControl as MemoryControl
from .core.chain import Chain as Chain
from .core.chain import compile_chain as compile_chain
from .core.device_rules import DeviceRules as DeviceRules
from .core.device_rules import Handover as Handover
from .core.device_rules import Unchecked as Unchecked
from .core.errors import ConfigurationError as ConfigurationError
from .core.errors import EdgeError as EdgeError
from .core.errors import ListenError as ListenError
from .core.errors import UpstreamError as UpstreamError
from .core.grace import Grace as Grace
from .core.plan import Plan as Plan
from .core.policy import Credentials as Credentials
from .core.policy import Fate as Fate
from .core.policy import Policy as Policy
from .core.policy import Settings as Settings
from .core.report import Report as Report
from .core.report import Usage as Usage
from .core.services import Service as Service
from .core.services import Snapshot as Snapshot
from .core.session import Session as Session
from .core.stage import Decision as Decision
from .core.stage import Endpoint as Endpoint
from .core.stage import Handler as Handler
from .core.stage import Middleware as Middleware
from .core.stage import Worker as Worker
from .core.stage import decision as decision
from .core.stage import middleware as middleware
from .core.trace import Explanation as Explanation
from .core.trace import StageTimes as StageTimes
from .core.verdict import CONTINUE as CONTINUE
from .core.verdict import Completed as Completed
from .core.verdict import Outcome as Outcome
from .core.verdict import Reason as Reason
from .core.verdict import Reject as Reject
from .core.verdict import Verdict as Verdict
from .edge import Edge as Edge
from .endpoints.forward import Forward as Forward
from .outbounds.direct import Direct as Direct
from .process import ExitCode as ExitCode
from .process import run as run
from .runtime.control_plane import ControlPlane as ControlPlane
from .runtime.control_plane import DeviceVerdict as DeviceVerdict
from .runtime.control_plane import Link as Link
from .runtime.control_plane import SnapshotError as SnapshotError
from .runtime.governance import ControlState as ControlState
from .runtime.observe import Statistics as Statistics
from .runtime.password import hash_password as hash_password
from .stages.concurrency_limit import ConcurrencyLimit as ConcurrencyLimit
from .stages.device_limit import DeviceLimit as DeviceLimit
from .stages.identify import Identify as Identify
from .stages.idle_timeout import IdleTimeout as IdleTimeout
from .stages.pacing import Pacing as Pacing
from .stages.session_gate import SessionGate as SessionGate
from .stages.source_match import SourceMatch as SourceMatch

__all__ = [
    "CONTINUE",
    "Chain",
    "Completed",
    "ConcurrencyLimit",
    "ConfigurationError",
    "ControlPlane",
    "ControlState",
    "Credentials",
    "Decision",
    "DeviceLimit",
    "DeviceRules",
    "DeviceVerdict",
    "Direct",
    "Edge",
    "EdgeError",
    "Endpoint",
    "ExitCode",
    "Explanation",
    "Fate",
    "FileControl",
    "Forward",
    "Grace",
    "Handler",
    "Handover",
    "HttpControl",
    "Identify",
    "IdleTimeout",
    "Link",
    "ListenError",
    "MemoryControl",
    "Middleware",
    "Outcome",
    "Pacing",
    "Plan",
    "Policy",
    "Reason",
    "Reject",
    "Report",
    "Service",
    "Session",
    "SessionGate",
    "Settings",
    "Snapshot",
    "SnapshotError",
    "SourceMatch",
    "StageTimes",
    "Statistics",
    "Unchecked",
    "UpstreamError",
    "Usage",
    "Verdict",
    "Worker",
    "compile_chain",
    "decision",
    "hash_password",
    "middleware",
    "run",
]
