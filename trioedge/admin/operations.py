"""The operations of the admin API, in one table."""

from collections.abc import Mapping
from typing import Final

import attrs

from ..session.verdict import Reason
from ..telemetry.level import LEVELS
from .metrics.collect import metrics_here
from .operation import Here, Operation
from .parameters import SOURCE, Parameter, choice, source_fault, text, whole
from .shapes import COUNT, COUNTS, FLAG, NUMBER, TEXT, TEXTS, or_null, several, table
from .topics import (
    devices,
    ends,
    evict,
    explain,
    level,
    listeners,
    machine,
    readiness,
    services,
    sessions,
    stage_times,
    statistics,
    top,
    upstreams,
)

_LIMIT: Final = Parameter(name="limit", says="the most items of the answer", schema=whole(1, 1_000), default=100)
_SERVICE: Final = Parameter(name="service", says="the name of a service", schema=text())
_SOURCE: Final = Parameter(name="source", says="a client's address or prefix", schema=SOURCE, check=source_fault)
_DEVICE: Final = Parameter(name="device", says="the name of a device", schema=text(255, 0))
_ID: Final = Parameter(name="id", place="path", says="the id of a session", schema=whole(1))
_NAME: Final = Parameter(name="name", place="path", says="the name of a service", schema=text())
_SECONDS: Final = {"type": "number", "minimum": 0, "maximum": 86_400}

PLAN: Final = table(
    says=TEXT, added=COUNT, changed=COUNT, removed=COUNT, retuned=COUNT, rechecked=COUNT, evicted=COUNT, missing=COUNT
)

STATE: Final = table(
    version=TEXT, applied_at=or_null(NUMBER), services=COUNT, error=TEXT, failing_since=or_null(NUMBER),
    report_error=TEXT, unreported=COUNT, reported=COUNT, listeners=COUNT, listen_errors=TEXTS, report_lag=NUMBER,
    workers=several(
        table(
            number=COUNT, pid=COUNT, generation=COUNT, connected=FLAG, version=or_null(TEXT), refusal=TEXT, lags=FLAG
        )
    ),
)  # fmt: skip

HISTORY: Final = table(
    seconds=NUMBER,
    points=several(
        table(
            at=NUMBER, live=COUNT, accepted=COUNT, refused=COUNT, ended=COUNT, bytes_up=COUNT, bytes_down=COUNT,
            refused_by=COUNTS,
        )
    ),
)  # fmt: skip


def _in_body(parameter: Parameter) -> Parameter:
    return attrs.evolve(parameter, place="body", required=False)


OPERATIONS: Final = (
    Operation(
        name="health", method="GET", path="/health", says="Whether the loop of the API answers.",
        answer=readiness.HEALTH, own=True, open=True,
    ),
    Operation(
        name="ready", method="GET", path="/ready", says="Whether the edge accepts sessions; 503 while it does not.",
        answer=readiness.READY, here=readiness.phase_here, merge=readiness.merge_ready, open=True, refused=(503,),
    ),
    Operation(
        name="metrics", method="GET", path="/metrics", says="Metrics for Prometheus, as text.",
        answer=TEXT, kind="text", own=True,
    ),
    Operation(
        name="statistics", method="GET", path="/v1/statistics", says="The counts of the edge, and of each worker.",
        answer=statistics.STATISTICS, here=statistics.statistics_here, merge=statistics.merge_statistics,
    ),
    Operation(
        name="state", method="GET", path="/v1/state", says="The connection to the control plane.",
        answer=STATE, own=True,
    ),
    Operation(
        name="services", method="GET", path="/v1/services",
        says="Services by name, page by page; or the busiest first, in one page.",
        answer=services.SERVICES, here=services.services_here, collect=services.collect_services,
        parameters=(
            Parameter(name="after", says="the cursor of the page before", schema=text()), _LIMIT,
            Parameter(name="prefix", says="the beginning of the names", schema=text()),
            Parameter(name="order", says="the order of the items", schema=choice(*services.ORDERS), default="name"),
        ),
    ),
    Operation(
        name="service", method="GET", path="/v1/services/{name}", says="One service, with its limits and their use.",
        answer=services.SERVICE, here=services.service_here, merge=services.merge_service, parameters=(_NAME,),
        not_found=True,
    ),
    Operation(
        name="devices", method="GET", path="/v1/services/{name}/devices",
        says="The devices of a service: who is online, in grace, denied, and for how long.",
        answer=devices.DEVICES, here=devices.devices_here, merge=devices.merge_devices,
        parameters=(_NAME, Parameter(name="after", says="the cursor of the page before", schema=text(255, 0)), _LIMIT),
        not_found=True,
    ),
    Operation(
        name="sessions", method="GET", path="/v1/sessions", says="Live sessions by their ids, page by page.",
        answer=sessions.SESSIONS, here=sessions.sessions_here, merge=sessions.merge_sessions,
        parameters=(
            Parameter(name="after", says="the cursor of the page before", schema=whole()), _LIMIT, _SERVICE, _SOURCE,
            _DEVICE,
        ),
    ),
    Operation(
        name="top", method="GET", path="/v1/top", says="The sources, services or devices with most sessions or bytes.",
        answer=top.TOP, here=top.top_here, collect=top.collect_top,
        parameters=(
            Parameter(name="by", says="what is counted", schema=choice(*top.BY), default="source"),
            Parameter(name="order", says="the order of the items", schema=choice(*top.ORDERS), default="live"), _LIMIT,
        ),
    ),
    Operation(
        name="explain", method="GET", path="/v1/sessions/{id}",
        says="One session, live or among the last 1,000 that ended, and what each stage decided.",
        answer=explain.EXPLANATION, here=explain.explain_here, merge=explain.merge_explained, parameters=(_ID,),
        not_found=True,
    ),
    Operation(
        name="evict-session", method="DELETE", path="/v1/sessions/{id}", says="Cut one session.",
        answer=evict.EVICTED, here=evict.evict_one_here, merge=evict.merge_evicted_one, parameters=(_ID,),
        not_found=True,
    ),
    Operation(
        name="recent", method="GET", path="/v1/recent",
        says="The sessions that ended or were refused last, of 1,000 for each worker, the latest first.",
        answer=explain.RECENT, here=explain.recent_here, merge=explain.merge_recent,
        parameters=(
            _SOURCE, _SERVICE,
            Parameter(name="reason", says="why they ended", schema=choice(*map(str, Reason))),
            Parameter(
                name="kind", says="whether they ran; failed: all but those that their two sides ended",
                schema=choice("ended", "refused", "failed"),
            ), _LIMIT,
        ),
    ),
    Operation(
        name="evict", method="POST", path="/v1/evict",
        says="Cut the live sessions that match all that the body names; a device needs its service.",
        answer=evict.EVICTED, here=evict.evict_here, merge=evict.merge_evicted,
        parameters=(
            *map(_in_body, (_SERVICE, _SOURCE, _DEVICE)),
            Parameter(name="session", place="body", says="the id of a session", schema=whole(1)),
        ),
        body_needs=("service", "source", "session"),
    ),
    Operation(
        name="plan", method="POST", path="/v1/plan",
        says="What a snapshot, in lines of JSON, would change; nothing changes.", answer=PLAN, own=True, lines=True,
        refused=(409, 503),
    ),
    Operation(
        name="apply", method="POST", path="/v1/apply",
        says="Apply a snapshot, in lines of JSON, until the control plane sends another one.", answer=PLAN, own=True,
        lines=True, refused=(409, 503),
    ),
    Operation(
        name="restart", method="GET", path="/v1/restart", says="How far a restart in place has come.",
        answer=readiness.RESTART, own=True, refused=(409,),
    ),
    Operation(
        name="begin-restart", method="POST", path="/v1/restart", answer=readiness.RESTART, own=True, refused=(409,),
        says="Restart the program in place, as SIGUSR2 does: a version that does not start leaves the old one serving.",
    ),
    Operation(
        name="drain", method="GET", path="/v1/drain", says="How far a drain has come.",
        answer=readiness.DRAIN, here=readiness.phase_here, merge=readiness.merge_drain,
    ),
    Operation(
        name="begin-drain", method="POST", path="/v1/drain",
        says="Stop accepting; the edge ends once its sessions have, or at the deadline.", answer=readiness.DRAIN,
        own=True,
        parameters=(
            Parameter(
                name="seconds", place="body", schema=_SECONDS, required=False,
                says="how long sessions may go on; by default as the edge says",
            ),
        ),
    ),
    Operation(
        name="log-level", method="GET", path="/v1/log-level", says="The lowest level that is logged.",
        answer=level.LEVEL, here=level.level_here, merge=level.merge_level,
    ),
    Operation(
        name="set-log-level", method="PUT", path="/v1/log-level",
        says="Log from this level on, until it is set again or the process ends.", answer=level.LEVEL,
        here=level.set_level_here, merge=level.merge_level,
        parameters=(
            Parameter(name="level", place="body", says="the lowest level", schema=choice(*LEVELS), required=True),
        ),
    ),
    Operation(
        name="upstreams", method="GET", path="/v1/upstreams",
        says="Upstreams that are configured, the failing ones first, with their connects.",
        answer=upstreams.UPSTREAMS, here=upstreams.upstreams_here, merge=upstreams.merge_upstreams,
        parameters=(_LIMIT,),
    ),
    Operation(
        name="stage-times", method="GET", path="/v1/stage-times", says="The time that each stage takes.",
        answer=stage_times.STAGE_TIMES, here=stage_times.stage_times_here, merge=stage_times.merge_stage_times,
    ),
    Operation(
        name="machine", method="GET", path="/v1/machine",
        says="Descriptors, memory, stalls of the loop, tables and their bounds, clients that the kernel dropped.",
        answer=machine.MACHINE, here=machine.machine_here, merge=machine.merge_machine,
    ),
    Operation(
        name="history", method="GET", path="/v1/history",
        says="The last 15 minutes: what happened in each 5 seconds, and the live sessions at their end.",
        answer=HISTORY, own=True,
    ),
    Operation(
        name="events", method="GET", path="/v1/events",
        says="Statistics each second, ends and refusals as they come: server-sent events.", answer=TEXT, kind="events",
        own=True, refused=(503,),
    ),
    Operation(
        name="openapi", method="GET", path="/openapi.json", says="This description, as OpenAPI 3.1.",
        answer={"type": "object"}, own=True,
    ),
    Operation(
        name="page", method="GET", path="/", says="The dashboard.", answer=TEXT, kind="page", own=True, open=True,
    ),
    Operation(
        name="page-file", method="GET", path="/page/{file}", says="A file that the dashboard loads.", answer=TEXT,
        kind="file", own=True, open=True, not_found=True,
        parameters=(Parameter(name="file", place="path", says="the name of a file", schema=text()),),
    ),
)  # fmt: skip
"""Every operation, in the order of the reference."""

INNER: Final[dict[str, Here]] = {
    "ends": ends.ends_here,
    "listeners": listeners.listeners_here,
    "metrics": metrics_here,
    "services-busiest": services.services_busiest_here,
    "services-named": services.services_named_here,
    "top-named": top.top_named_here,
}
"""Questions that the API asks besides those of operations."""

LOCAL: Final[Mapping[str, Here]] = {**{each.name: each.here for each in OPERATIONS if each.here is not None}, **INNER}
"""What a process answers, by the name of the question."""
