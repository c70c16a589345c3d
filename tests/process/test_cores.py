"""How many workers a machine has processors for, by its control groups."""

import os
from pathlib import Path

import pytest

from trioedge.process.cores import Cores, cores


@pytest.mark.parametrize(
    ("own", "files", "allowance"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n", "a/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "100000 100000\n"}, 1.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/elsewhere\n", {"cpu.max": "50000 100000\n"}, 0.5),
        (
            "3:cpu,cpuacct:/a\n0::/\n",
            {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        ("3:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, None),
        ("3:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "250000\n"}, None),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None),
        ("0::/\n", {"cpu.max": "many\n"}, None),
        ("", {}, None),
    ],
)
def test_the_lowest_quota_of_the_control_groups_is_the_allowance(
    own: str, files: dict[str, str], allowance: float | None, tmp_path: Path
) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    found = cores(tmp_path / "fs", tmp_path / "own")
    assert found == Cores(len(os.sched_getaffinity(0)), allowance)


@pytest.mark.parametrize(
    ("found", "workers"),
    [(Cores(4), 4), (Cores(4, 2.9), 2), (Cores(4, 0.2), 1), (Cores(2, 16.0), 2), (Cores(1), 1)],
)
def test_a_worker_needs_a_whole_processor_and_there_is_one_at_least(found: Cores, workers: int) -> None:
    assert found.workers == workers


def test_the_processors_are_those_that_this_process_may_run_on() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores().usable == 1
    finally:
        os.sched_setaffinity(0, before)
