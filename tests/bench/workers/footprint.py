"""Memory of the control process, and of a further worker, after some sessions and a look at the admin API.

Pages that processes share count once: a further worker costs what all processes of three workers have more than those
of two. The control process has its proportional part of the pages that it shares.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench.processes import proportional_kib
from tests.bench.workers.families import CORES, Values, at_once, echoing, family, run

PATHS = ("/v1/statistics", "/v1/services", "/v1/sessions", "/v1/history", "/v1/stage-times")


def mebibytes(echo: Path, load: Path, workers: int) -> tuple[float, float]:
    """Memory of the control process, and of all processes."""
    with echoing(echo) as upstream, family("limited", workers, upstream) as edge:
        at_once(load, CORES, "sessions", edge.ports[0], 1.0, 0, 16)
        for path in PATHS:
            edge.get(path)
        time.sleep(0.5)
        control, whole = proportional_kib(edge.control), proportional_kib(edge.pid)
    return control / 1024, whole / 1024


def main(echo: Path, load: Path, turns: int) -> Values:
    del turns
    control, two = mebibytes(echo, load, 2)
    _, three = mebibytes(echo, load, 3)
    _, alone = mebibytes(echo, load, 1)
    return {
        "memory_control_mib": control,
        "memory_worker_mib": three - two,
        "memory_two_mib": two,
        "memory_alone_mib": alone,
    }


if __name__ == "__main__":
    run(main)
