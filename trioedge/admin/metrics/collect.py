"""The metrics of one process: of its run of the edge, of the parts that count, and of the process itself.

The control process of several workers serves no client; it has the parts and the process alone.
"""

import time
from collections import Counter
from collections.abc import Collection, Sized
from typing import Final

import trio

from ...control.supervisor import ControlState
from ...loop.slices import Stepwise
from ...loop.stall import LoopStall
from ...services.service import Service
from ...session.verdict import Reason
from ...telemetry.line_writer import lines_lost
from ...telemetry.meters import Meters
from ...telemetry.trace import stage_times
from ..asking import Parameters
from ..local import Local
from ..topics.machine import descriptors, kernel_counts, resident_bytes
from ..topics.statistics import own_version
from . import catalogue as the
from .families import SAMPLES_A_STEP, Families
from .families import Collection as Collected

POOLS_A_STEP: Final = 256
CONTROL: Final = "control"
"""The label of the control process, in place of the number of a worker."""

OTHER: Final = "other"
"""The label of all services that have no samples of their own; a service of this name is one of them."""


def collect(local: Local, services: Collection[str] | None = None) -> Stepwise[Families]:
    """Collect what one process that serves an edge has counted, in steps of some samples.

    Args:
        local: the edge in this process.
        services: the names of those that have samples of their own; the others are one together. None for no samples
            of services.
    """
    found, worker = Collected(), str(local.number)
    yield from _collect_sessions(found, local, worker)
    yield from _collect_stages(found, local)
    yield from collect_meters(found, local.run.log.meters, worker)
    yield from collect_process(found, local.stall, worker)
    if services is not None:
        yield from _collect_services(found, local, services)
    return found.families


def metrics_here(local: Local, parameters: Parameters) -> Stepwise[Families]:
    """Answer the question ``metrics``; its ``services`` are as those of :func:`collect`."""
    return collect(local, parameters["services"])


def control_families(meters: Meters, stall: LoopStall, deaths: int, seconds: float) -> Stepwise[Families]:
    """Collect what the control process of several workers has counted.

    Args:
        meters: of the edge in this process.
        stall: of the loop of this process.
        deaths: how many workers have died.
        seconds: how long this process has run.
    """
    found = Collected()
    yield from collect_meters(found, meters, CONTROL)
    del found.families[the.GRACES.name]  # it has a place for each device of a worker, and the worker has the sessions
    yield from collect_process(found, stall, CONTROL)
    found.add(the.WORKER_DEATHS, deaths)
    found.add(the.UPTIME, seconds)  # the workers that began with it may have been replaced
    return found.families


def _collect_sessions(found: Collected, local: Local, worker: str) -> Stepwise[None]:
    run = local.run
    counts = run.statistics()
    found.add(the.INFO, 1, local.description.known_name, own_version())
    found.add(the.UPTIME, local.now() - local.began_at)
    found.add(the.ACCEPTING, int(local.phase.value == "serving"), worker)
    found.add(the.ACCEPTED, counts.accepted)
    found.add(the.LIVE, counts.live, worker)
    found.add(the.IN_HANDSHAKE, 0 if run.sessions is None else len(run.sessions.waiting))
    found.add(the.BYTES, counts.bytes_up, "up")
    found.add(the.BYTES, counts.bytes_down, "down")
    found.add(the.OBSERVERS_LOST, counts.observers_lost)
    found.add(the.SNAPSHOTS, local.snapshots.value)
    found.add(the.LISTENERS, run.listening.open)
    found.add(the.LISTENERS_FAILED, run.listening.failing)
    yield
    for metric, by_reason in ((the.REFUSED, counts.refused), (the.ENDED, counts.ended)):
        for reason in Reason:  # also those that were not met yet: the first one of a reason is a change then
            found.add(metric, by_reason.get(reason, 0), str(reason))
        yield
    if run.sessions is not None:
        waiting, crowd = run.sessions.waiting, run.sessions.crowd
        place = "all" if crowd.shared else worker
        found.add(the.TABLE, crowd.count(), place, "sessions")
        found.add(the.TABLE_CAPACITY, crowd.maximum, place, "sessions")
        found.add(the.TABLE, len(waiting), worker, "handshakes")
        found.add(the.TABLE_CAPACITY, waiting.maximum, worker, "handshakes")
    for number, member in enumerate(counts.members, 1):
        found.add(the.MEMBER_WELL, int(member.state == "well"), member.group, member.address)
        found.add(the.MEMBER_LIVE, member.live, member.group, member.address)
        found.add(the.MEMBER_FAILED, member.failed, member.group, member.address)
        if not number % (SAMPLES_A_STEP // 4):
            yield
    yield


def _collect_stages(found: Collected, local: Local) -> Stepwise[None]:
    """Collect the times of stages; the second one of a name has a number."""
    outline, chain = local.description.outline, local.run.chain
    seen: Counter[str] = Counter()
    for times, kind in zip(stage_times(outline, () if chain is None else chain.counts), outline.kinds, strict=False):
        seen[times.stage] += 1
        name = times.stage if seen[times.stage] == 1 else f"{times.stage} {seen[times.stage]}"
        found.add_times(the.STAGE, times, name, kind)
        yield


def collect_meters(found: Collected, meters: Meters, worker: str) -> Stepwise[None]:
    """Collect what the parts of an edge count beside sessions.

    Args:
        found: gets it.
        meters: of the edge in this process.
        worker: the number of this worker, or ``control``.
    """
    connects = meters.connects
    found.add_times(the.CONNECT, connects.seconds)
    found.add(the.CONNECT_FAILURES, connects.failures)
    found.add(the.CONNECTS_AT_ONCE, connects.at_once)
    found.add(the.CONNECTS_UNDER_WAY, connects.under_way)
    found.add(the.IDLE_TAKEN, meters.idle_taken)
    found.add(the.IDLE_MISSED, meters.idle_missed)
    yield
    for asked, failed, seconds, questions in (
        (the.DNS_ASKED, the.DNS_FAILED, the.DNS, meters.names),
        (the.CHECKS_ASKED, the.CHECKS_FAILED, the.CHECKS, meters.devices),
    ):
        found.add(asked, questions.asked)
        found.add(failed, questions.failed)
        found.add_times(seconds, questions.seconds)
        yield
    found.add(the.GRACES, meters.graces)
    found.add(the.LOOKS, meters.looks)
    found.add(the.DIVISIONS, meters.divisions)
    found.add(the.PACED, sum(map(len, meters.paced)))
    for number, each in enumerate(meters.tables, 1):
        found.add(the.TABLE, each.size(), worker, each.name)
        found.add(the.TABLE_CAPACITY, each.capacity, worker, each.name)
        if not number % (SAMPLES_A_STEP // 4):
            yield
    found.add(the.IDLE, (yield from _idle(list(meters.pools))))


def _idle(pools: list[Sized]) -> Stepwise[int]:
    idle = 0
    for number, pool in enumerate(pools, 1):
        idle += len(pool)
        if not number % POOLS_A_STEP:
            yield
    yield
    return idle


def collect_process(found: Collected, stall: LoopStall, worker: str) -> Stepwise[None]:
    """Collect what the process uses of the machine; the arguments are those of :func:`collect_meters`.

    Args:
        found: gets it.
        stall: of the loop of this process.
        worker: as above.
    """
    used, limit = yield from descriptors()
    found.add(the.DESCRIPTORS, used, worker)
    found.add(the.DESCRIPTORS_LIMIT, limit, worker)
    found.add(the.MEMORY, resident_bytes(), worker)
    found.add(the.CPU, time.process_time(), worker)
    found.add(the.LOG_LOST, lines_lost())
    yield
    found.add_times(the.STALL, stall.seconds)
    found.add(the.STALL_MAX, stall.recent(trio.current_time()), worker)
    yield
    kernel = kernel_counts()
    for metric, name in ((the.LISTEN_OVERFLOWS, "ListenOverflows"), (the.LISTEN_DROPS, "ListenDrops")):
        if name in kernel:
            found.add(metric, kernel[name])
    yield


def _collect_services(found: Collected, local: Local, names: Collection[str]) -> Stepwise[None]:
    """Collect the services of these names, and all others as one, whose sums are those of the edge at one moment."""
    services: list[Service] = []
    for number, name in enumerate(names, 1):
        if name != OTHER:
            services += local.services.named(name)
        if not number % SAMPLES_A_STEP:
            yield
    live, up, down = Counter[str](), Counter[str](), Counter[str]()
    for each in services:  # in one step: at most 2 * 1,000 names, 0.2 µs each
        live[each.name] += each.live
        up[each.name] += each.up.bytes
        down[each.name] += each.down.bytes
    counts = local.run.statistics()
    others = (
        counts.live - live.total(),
        counts.bytes_up - up.total(),
        counts.bytes_down - down.total(),
    )
    yield
    for number, name in enumerate(live, 1):
        _add_service(found, name, live[name], up[name], down[name])
        if not number % (SAMPLES_A_STEP // 4):
            yield
    _add_service(found, OTHER, *others)
    yield


def _add_service(found: Collected, name: str, live: int, up: int, down: int) -> None:
    found.add(the.SERVICE_LIVE, live, name)
    found.add(the.SERVICE_BYTES, up, name, "up")
    found.add(the.SERVICE_BYTES, down, name, "down")


def collect_control(found: Collected, state: ControlState, now: float) -> None:
    """Collect the state of the connection to the control plane.

    Args:
        found: gets it.
        state: of the connection.
        now: Trio's clock.
    """
    found.add(the.SERVICES, state.services)
    if state.applied_at is not None:
        found.add(the.SNAPSHOT_AGE, max(0.0, now - state.applied_at))
    found.add(the.CONTROL_FAILING, 0.0 if state.failing_since is None else max(0.0, now - state.failing_since))
    found.add(the.REPORT_LAG, state.report_lag)
    found.add(the.REPORTS_WAITING, state.unreported)
