"""Every metric of an edge: the one list, which the guide, the dashboard and the alerts are tested against."""

from typing import Final

from .families import COUNTER, GAUGE, HISTOGRAM, MAX, MIN, Metric

_OF_STAGES: Final = (8, 30)
"""From 256 ns to 1.07 s."""

_OF_OTHERS: Final = (16, 34)
"""From 66 µs to 17 s."""

INFO: Final = Metric("trioedge_info", GAUGE, "The edge, with its version; always 1.", ("edge", "version"), MAX)
UPTIME: Final = Metric("trioedge_uptime_seconds", GAUGE, "Since the edge began to serve.", (), MAX)
ACCEPTING: Final = Metric("trioedge_accepting", GAUGE, "1 while the process accepts clients, else 0.", ("worker",))

ACCEPTED: Final = Metric("trioedge_sessions_accepted_total", COUNTER, "Connections accepted, refused ones included.")
REFUSED: Final = Metric("trioedge_sessions_refused_total", COUNTER, "Sessions refused.", ("reason",))
ENDED: Final = Metric("trioedge_sessions_ended_total", COUNTER, "Sessions that ran and ended.", ("reason",))
LIVE: Final = Metric("trioedge_sessions_live", GAUGE, "Sessions now.", ("worker",))
IN_HANDSHAKE: Final = Metric("trioedge_sessions_in_handshake", GAUGE, "Clients that have to say more.")
BYTES: Final = Metric("trioedge_bytes_total", COUNTER, "Bytes up to upstreams and down to clients.", ("direction",))
STAGE: Final = Metric(
    "trioedge_stage_seconds",
    HISTOGRAM,
    "Time that a stage took of a session's start.",
    ("stage", "kind"),
    buckets=_OF_STAGES,
)

CONNECT: Final = Metric(
    "trioedge_connect_seconds", HISTOGRAM, "Time until an upstream took a connection, without its name.",
    buckets=_OF_OTHERS,
)  # fmt: skip
CONNECT_FAILURES: Final = Metric("trioedge_connect_failures_total", COUNTER, "Connects to upstreams that failed.")
CONNECTS_AT_ONCE: Final = Metric(
    "trioedge_connects_at_once_total", COUNTER, "Connects of sessions that the kernel of this machine took at once."
)
CONNECTS_UNDER_WAY: Final = Metric("trioedge_connects_under_way", GAUGE, "Connects that wait for an upstream.")
IDLE_TAKEN: Final = Metric("trioedge_preconnect_taken_total", COUNTER, "Sessions that took an idle connection.")
IDLE_MISSED: Final = Metric("trioedge_preconnect_missed_total", COUNTER, "Sessions that wanted one, and none was idle.")
IDLE: Final = Metric("trioedge_preconnect_idle", GAUGE, "Idle connections to upstreams.")
MEMBER_WELL: Final = Metric(
    "trioedge_member_well", GAUGE, "1 while a member of a balanced destination is well everywhere, else 0.",
    ("group", "address"), MIN,
)  # fmt: skip
MEMBER_LIVE: Final = Metric("trioedge_member_sessions", GAUGE, "Sessions of a member now.", ("group", "address"))
MEMBER_FAILED: Final = Metric(
    "trioedge_member_failures_total", COUNTER, "Connects to a member that failed.", ("group", "address")
)

DNS_ASKED: Final = Metric("trioedge_dns_questions_total", COUNTER, "Names that name servers were asked for.")
DNS_FAILED: Final = Metric(
    "trioedge_dns_failures_total", COUNTER, "Names for which no name server gave an answer in time."
)
DNS: Final = Metric("trioedge_dns_seconds", HISTOGRAM, "Time of the name servers' answers.", buckets=_OF_OTHERS)

CHECKS_ASKED: Final = Metric("trioedge_device_checks_total", COUNTER, "Questions to the device checker.")
CHECKS_FAILED: Final = Metric(
    "trioedge_device_check_failures_total", COUNTER, "Questions to the device checker without a verdict."
)
CHECKS: Final = Metric(
    "trioedge_device_check_seconds", HISTOGRAM, "Time of the device checker's verdicts.", buckets=_OF_OTHERS
)
GRACES: Final = Metric("trioedge_grace_sessions_total", COUNTER, "Sessions admitted before their device was checked.")

LOOKS: Final = Metric("trioedge_pacing_looks_total", COUNTER, "Looks at the rate of a service.")
DIVISIONS: Final = Metric("trioedge_pacing_divisions_total", COUNTER, "Rates divided among sessions anew.")
PACED: Final = Metric("trioedge_pacing_waiting", GAUGE, "Services that wait for a look at their rate.")

SERVICES: Final = Metric("trioedge_services", GAUGE, "Services that the edge has.", (), MAX)
SNAPSHOTS: Final = Metric(
    "trioedge_snapshots_applied_total", COUNTER, "Snapshots of the control plane that were applied.", (), MAX
)
SNAPSHOT_AGE: Final = Metric("trioedge_snapshot_age_seconds", GAUGE, "Since the last snapshot was applied.", (), MAX)
CONTROL_FAILING: Final = Metric(
    "trioedge_control_failing_seconds", GAUGE, "Since the control plane fails; 0 while it does not.", (), MAX
)
REPORT_LAG: Final = Metric(
    "trioedge_report_lag_seconds", GAUGE, "Age of the oldest use that is not acknowledged; 0 for none.", (), MAX
)
REPORTS_WAITING: Final = Metric("trioedge_reports_waiting", GAUGE, "Services whose use waits to be reported.", (), MAX)
LISTENERS: Final = Metric("trioedge_service_listeners", GAUGE, "Listeners of services that are open.")
LISTENERS_FAILED: Final = Metric(
    "trioedge_service_listeners_failed", GAUGE, "Listeners of services that cannot be opened."
)

STALL: Final = Metric(
    "trioedge_loop_stall_seconds", HISTOGRAM, "How late the loop ran what was due.", buckets=_OF_OTHERS
)
STALL_MAX: Final = Metric(
    "trioedge_loop_stall_max_seconds", GAUGE, "How late the loop was at most in the last 60 s.", ("worker",), MAX
)
DESCRIPTORS: Final = Metric("trioedge_descriptors_used", GAUGE, "File descriptors that are open.", ("worker",), MAX)
DESCRIPTORS_LIMIT: Final = Metric(
    "trioedge_descriptors_limit", GAUGE, "File descriptors that may be open.", ("worker",), MAX
)
MEMORY: Final = Metric("trioedge_memory_bytes", GAUGE, "Memory in use, shared pages included.", ("worker",), MAX)
CPU: Final = Metric("trioedge_cpu_seconds_total", COUNTER, "Time of a processor, the system's included.", ("worker",))
TABLE: Final = Metric("trioedge_table_entries", GAUGE, "Entries of a table with a bound.", ("worker", "table"), MAX)
TABLE_CAPACITY: Final = Metric(
    "trioedge_table_capacity", GAUGE, "The most entries of a table.", ("worker", "table"), MAX
)
LISTEN_OVERFLOWS: Final = Metric(
    "trioedge_listen_overflows_total", COUNTER, "Clients dropped at a full backlog, of the whole machine.", (), MAX
)
LISTEN_DROPS: Final = Metric(
    "trioedge_listen_drops_total", COUNTER, "Clients dropped at a listener, of the whole machine.", (), MAX
)
LOG_LOST: Final = Metric("trioedge_log_lines_lost_total", COUNTER, "Lines of logs that could not be written.")
OBSERVERS_LOST: Final = Metric("trioedge_observer_records_lost_total", COUNTER, "Records that observers did not get.")

ADMIN_ERRORS: Final = Metric("trioedge_admin_errors_total", COUNTER, "Errors of the admin API.", ("status",))
WORKERS: Final = Metric("trioedge_workers", GAUGE, "Processes that serve; missing: without an answer.", ("state",))
WORKER_DEATHS: Final = Metric(
    "trioedge_worker_deaths_total", COUNTER, "Workers that have died, those before restarts included."
)

SERVICE_LIVE: Final = Metric("trioedge_service_sessions", GAUGE, "Sessions of a service now.", ("service",))
SERVICE_BYTES: Final = Metric(
    "trioedge_service_bytes_total", COUNTER, "Bytes of a service up to upstreams and down to clients.",
    ("service", "direction"),
)  # fmt: skip

CATALOGUE: Final = {each.name: each for each in tuple(globals().values()) if isinstance(each, Metric)}
"""All of them, by name."""
