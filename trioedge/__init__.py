"""trioedge: an edge proxy out of a few stages in Python, at layer-4 latency.

A folder a topic; a folder imports only those above it in this list:

    errors, arguments, structures     exceptions, checks of arguments, bounded data structures
    addresses                         addresses read and matched
    session, wire                     the grammar: sessions, stages, chains; parsers of protocols
    telemetry, loop                   log lines and counts; the reactor and its thread's time
    relay, services                   bytes between two ends; tenants and what a snapshot changes
    stages, upstreams, control        what users put into an edge: stages, ways out, control planes
    observers                         and code that is told what it has done
    endpoints, serving                where chains end; one run of an edge
    admin, edge                       the operators' view; the description of an edge and its face
    plugins                           parts of an edge in installed packages, by name
    process, testing, cli             a process, a test kit, the command line
"""

from .addresses.address import Address as Address
from .addresses.destination_rules import AddressRules as AddressRules
from .addresses.destination_rules import DestinationRules as DestinationRules
from .addresses.rules import SourceRules as SourceRules
from .arguments import check_choice as check_choice
from .arguments import check_count as check_count
from .arguments import check_flag as check_flag
from .arguments import check_number as check_number
from .arguments import check_text as check_text
from .control.file import FileControl as FileControl
from .control.http import HttpControl as HttpControl
from .control.memory import MemoryControl as MemoryControl
from .control.supervisor import ControlState as ControlState
from .edge import Edge as Edge
from .endpoints.asgi.asgi import Asgi as Asgi
from .endpoints.forward import Forward as Forward
from .errors import ConfigurationError as ConfigurationError
from .errors import EdgeError as EdgeError
from .errors import ListenError as ListenError
from .loop.reactor import Reactor as Reactor
from .observers.observer import Batch as Batch
from .observers.observer import Observer as Observer
from .plugins import PLUGIN_API as PLUGIN_API
from .process.run import ExitCode as ExitCode
from .process.run import run as run
from .relay.tls_info import TlsInfo as TlsInfo
from .secrets import Secret as Secret
from .services.context import EdgeContext as EdgeContext
from .services.context import Outbound as Outbound
from .services.context import Resolving as Resolving
from .services.context import SocketAddress as SocketAddress
from .services.context import Upstream as Upstream
from .services.control_plane import ChecksDevices as ChecksDevices
from .services.control_plane import ControlPlane as ControlPlane
from .services.control_plane import DeviceVerdict as DeviceVerdict
from .services.control_plane import FollowsDevices as FollowsDevices
from .services.control_plane import Link as Link
from .services.control_plane import NamesUsers as NamesUsers
from .services.control_plane import Reloads as Reloads
from .services.control_plane import SnapshotError as SnapshotError
from .services.control_plane import TakesReports as TakesReports
from .services.credentials import Credentials as Credentials
from .services.device_rules import DeviceRules as DeviceRules
from .services.device_rules import Handover as Handover
from .services.device_rules import Unchecked as Unchecked
from .services.linking.device_judge import DeviceJudge as DeviceJudge
from .services.listening.listeners import Listeners as Listeners
from .services.passwords import generate_secret as generate_secret
from .services.passwords import hash_password as hash_password
from .services.policy import Fate as Fate
from .services.policy import Policy as Policy
from .services.policy import Settings as Settings
from .services.registry import SessionsView as SessionsView
from .services.report import Report as Report
from .services.report import Usage as Usage
from .services.service import Service as Service
from .services.services import ServicesView as ServicesView
from .services.snapshot import Change as Change
from .services.snapshot import Plan as Plan
from .services.snapshot import Snapshot as Snapshot
from .services.snapshot import Watcher as Watcher
from .services.stage_keys import StageKeys as StageKeys
from .serving.admin_listener import Admin as Admin
from .session.allowance import Allowance as Allowance
from .session.chain import Chain as Chain
from .session.chain import compile_chain as compile_chain
from .session.fields import CleanUp as CleanUp
from .session.handshake import PROCEED as PROCEED
from .session.handshake import Background as Background
from .session.handshake import Handshake as Handshake
from .session.handshake import Peek as Peek
from .session.handshake import Read as Read
from .session.handshake import ReadUntil as ReadUntil
from .session.handshake import Send as Send
from .session.handshake import StartTls as StartTls
from .session.handshake import Steps as Steps
from .session.handshake import handshake as handshake
from .session.meter import Meter as Meter
from .session.outline import Outline as Outline
from .session.session import Session as Session
from .session.stage import Decision as Decision
from .session.stage import Endpoint as Endpoint
from .session.stage import Handler as Handler
from .session.stage import Middleware as Middleware
from .session.stage import Recipe as Recipe
from .session.stage import Worker as Worker
from .session.stage import decision as decision
from .session.stage import middleware as middleware
from .session.state import State as State
from .session.surroundings import Follower as Follower
from .session.verdict import CONTINUE as CONTINUE
from .session.verdict import Completed as Completed
from .session.verdict import Outcome as Outcome
from .session.verdict import Reason as Reason
from .session.verdict import Reject as Reject
from .session.verdict import Verdict as Verdict
from .stages.concurrency_limit import ConcurrencyLimit as ConcurrencyLimit
from .stages.destination_match import DestinationMatch as DestinationMatch
from .stages.destination_match import Destinations as Destinations
from .stages.devices.device_limit import DeviceLimit as DeviceLimit
from .stages.devices.grace import Grace as Grace
from .stages.handshakes.detect import Detect as Detect
from .stages.handshakes.http_connect import HttpConnect as HttpConnect
from .stages.handshakes.proxy_protocol import ProxyProtocol as ProxyProtocol
from .stages.handshakes.sni_route import SniRoute as SniRoute
from .stages.handshakes.socks import Socks as Socks
from .stages.handshakes.tls import Tls as Tls
from .stages.identify import Identify as Identify
from .stages.idle_timeout import IdleTimeout as IdleTimeout
from .stages.pacing.pacing import Pacing as Pacing
from .stages.session_gate import SessionGate as SessionGate
from .stages.source_match import SourceMatch as SourceMatch
from .structures.gcra import Gate as Gate
from .structures.gcra import GateAnswer as GateAnswer
from .structures.gcra import RateSpec as RateSpec
from .structures.live_counts import CountAnswer as CountAnswer
from .structures.live_counts import LiveCounts as LiveCounts
from .telemetry.access_log import AccessLog as AccessLog
from .telemetry.ends import SessionEnd as SessionEnd
from .telemetry.log import EdgeLog as EdgeLog
from .telemetry.log import Statistics as Statistics
from .telemetry.members import MemberCounts as MemberCounts
from .telemetry.starts import SessionStart as SessionStart
from .telemetry.trace import Explanation as Explanation
from .telemetry.trace import StageTimes as StageTimes
from .upstreams.balancing.balanced import Balanced as Balanced
from .upstreams.balancing.balanced import Member as Member
from .upstreams.direct import Direct as Direct
from .upstreams.errors import UpstreamError as UpstreamError
from .upstreams.ways.via import Via as Via
from .wire.client_hello import ClientHello as ClientHello
from .wire.proxy_protocol import ProxyHeader as ProxyHeader

__all__ = [
    "CONTINUE",
    "PLUGIN_API",
    "PROCEED",
    "AccessLog",
    "Address",
    "AddressRules",
    "Admin",
    "Allowance",
    "Asgi",
    "Background",
    "Balanced",
    "Batch",
    "Chain",
    "Change",
    "ChecksDevices",
    "CleanUp",
    "ClientHello",
    "Completed",
    "ConcurrencyLimit",
    "ConfigurationError",
    "ControlPlane",
    "ControlState",
    "CountAnswer",
    "Credentials",
    "Decision",
    "DestinationMatch",
    "DestinationRules",
    "Destinations",
    "Detect",
    "DeviceJudge",
    "DeviceLimit",
    "DeviceRules",
    "DeviceVerdict",
    "Direct",
    "Edge",
    "EdgeContext",
    "EdgeError",
    "EdgeLog",
    "Endpoint",
    "ExitCode",
    "Explanation",
    "Fate",
    "FileControl",
    "Follower",
    "FollowsDevices",
    "Forward",
    "Gate",
    "GateAnswer",
    "Grace",
    "Handler",
    "Handover",
    "Handshake",
    "HttpConnect",
    "HttpControl",
    "Identify",
    "IdleTimeout",
    "Link",
    "ListenError",
    "Listeners",
    "LiveCounts",
    "Member",
    "MemberCounts",
    "MemoryControl",
    "Meter",
    "Middleware",
    "NamesUsers",
    "Observer",
    "Outbound",
    "Outcome",
    "Outline",
    "Pacing",
    "Peek",
    "Plan",
    "Policy",
    "ProxyHeader",
    "ProxyProtocol",
    "RateSpec",
    "Reactor",
    "Read",
    "ReadUntil",
    "Reason",
    "Recipe",
    "Reject",
    "Reloads",
    "Report",
    "Resolving",
    "Secret",
    "Send",
    "Service",
    "ServicesView",
    "Session",
    "SessionEnd",
    "SessionGate",
    "SessionStart",
    "SessionsView",
    "Settings",
    "Snapshot",
    "SnapshotError",
    "SniRoute",
    "SocketAddress",
    "Socks",
    "SourceMatch",
    "SourceRules",
    "StageKeys",
    "StageTimes",
    "StartTls",
    "State",
    "Statistics",
    "Steps",
    "TakesReports",
    "Tls",
    "TlsInfo",
    "Unchecked",
    "Upstream",
    "UpstreamError",
    "Usage",
    "Verdict",
    "Via",
    "Watcher",
    "Worker",
    "check_choice",
    "check_count",
    "check_flag",
    "check_number",
    "check_text",
    "compile_chain",
    "decision",
    "generate_secret",
    "handshake",
    "hash_password",
    "middleware",
    "run",
]
