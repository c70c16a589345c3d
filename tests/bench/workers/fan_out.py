"""Snapshots of 100,000 services that four workers follow: how long any loop is held, and when the last worker has it.

First all services are new, then all change, then one does. Each worker is on one of the two cores, in turn.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.workers.families import CORES, Family, Values, family, run, until

WORKERS = 4
CHANGES = ("new", "all", "one")
SECONDS = 120.0


def follow(edge: Family, version: int) -> float:
    """Have the control plane change to a version, and give the seconds until every worker has it."""

    def followed() -> bool:
        return all(each["version"] == str(version) for each in edge.get("/v1/state")["workers"])

    (edge.folder / f"version-{version}").touch()
    return until(followed, f"version {version}", SECONDS, every=0.5)


def main(echo: Path, load: Path, turns: int) -> Values:
    del echo, load, turns
    values: Values = {}
    with family("many", WORKERS, 9, watched=True) as edge:
        edge.pin(CORES)
        assert edge.holds is not None
        until(lambda: len(edge.get("/v1/state")["workers"]) == WORKERS, "workers")
        for version, name in enumerate(CHANGES, 1):
            edge.holds.forget(edge.children())
            values[f"fan_out_{name}_seconds"] = follow(edge, version)
            values[f"fan_out_{name}_control_ms"] = edge.holds.longest_ms([edge.control])
            values[f"fan_out_{name}_worker_ms"] = edge.holds.longest_ms(edge.workers)
            values[f"fan_out_{name}_ms"] = edge.holds.longest_ms(edge.children())
    return values


if __name__ == "__main__":
    run(main)
