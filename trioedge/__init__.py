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
from .control.supervisor import ControlState as ControlState
from .edge import Edge as Edge
from .endpoints.forward import Forward as Forward
from .errors import ConfigurationError as ConfigurationError
from .errors import EdgeError as EdgeError
from .errors import ListenError as ListenError
from .process.run import ExitCode as ExitCode
from .process.run import run as run
from .services.control_plane import ControlPlane as ControlPlane
from .services.control_plane import DeviceVerdict as DeviceVerdict
from .services.control_plane import Link as Link
from .services.control_plane import SnapshotError as SnapshotError
from .services.credentials import Credentials as Credentials
from .services.device_rules import DeviceRules as DeviceRules
from .services.device_rules import Handover as Handover
from .services.device_rules import Unchecked as Unchecked
from .services.passwords import hash_password as hash_password
from .services.plan import Plan as Plan
from .services.policy import Fate as Fate
from .services.policy import Policy as Policy
from .services.policy import Settings as Settings
from .services.report import Report as Report
from .services.report import Usage as Usage
from .services.services import Service as Service
from .services.services import Snapshot as Snapshot
from .session.chain import Chain as Chain
from .session.chain import compile_chain as compile_chain
from .session.session import Session as Session
from .session.stage import Decision as Decision
from .session.stage import Endpoint as Endpoint
from .session.stage import Handler as Handler
from .session.stage import Middleware as Middleware
from .session.stage import Worker as Worker
from .session.stage import decision as decision
from .session.stage import middleware as middleware
from .session.verdict import CONTINUE as CONTINUE
from .session.verdict import Completed as Completed
from .session.verdict import Outcome as Outcome
from .session.verdict import Reason as Reason
from .session.verdict import Reject as Reject
from .session.verdict import Verdict as Verdict
from .stages.concurrency_limit import ConcurrencyLimit as ConcurrencyLimit
from .stages.devices.device_limit import DeviceLimit as DeviceLimit
from .stages.devices.grace import Grace as Grace
from .stages.identify import Identify as Identify
from .stages.idle_timeout import IdleTimeout as IdleTimeout
from .stages.pacing.pacing import Pacing as Pacing
from .stages.session_gate import SessionGate as SessionGate
from .stages.source_match import SourceMatch as SourceMatch
from .telemetry.observer import Statistics as Statistics
from .telemetry.trace import Explanation as Explanation
from .telemetry.trace import StageTimes as StageTimes
from .upstreams.direct import Direct as Direct
from .upstreams.errors import UpstreamError as UpstreamError

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
