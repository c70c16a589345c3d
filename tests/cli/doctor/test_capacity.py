"""What the doctor says of workers, open files and memory."""

from pathlib import Path

import pytest

from trioedge.cli.doctor.capacity import memory, open_files, sessions_of, workers
from trioedge.process.cores import Cores

GB = 10**9


@pytest.mark.parametrize(
    ("cores", "says"),
    [
        (Cores(1), "1 processor: one worker, as without --workers"),
        (Cores(8), "8 processors: --workers 8 uses them"),
        (Cores(8, 2.5), "8 processors, of which the control group allows 2.5 at a time: --workers 2 uses them"),
        (
            Cores(8, 0.5),
            "8 processors, of which the control group allows 0.5 at a time: one worker,",
        ),
        (Cores(2, 8.0), "2 processors: --workers 2 uses them"),
    ],
)
def test_as_many_workers_as_can_be_busy_at_a_time_are_recommended(cores: Cores, says: str) -> None:
    found = workers(cores)
    assert found.mark == "ok"
    assert found.text.startswith(says)


@pytest.mark.parametrize(
    ("soft", "hard", "mark", "text"),
    [
        (1_024, 65_536, "ok", "65,536 at most, so 32,736 sessions may live; 1,024 unless raised, as trioedge run does"),
        (65_536, 65_536, "ok", "65,536 at most, so 32,736 sessions may live"),
        (2_064, 2_064, "ok", "2,064 at most, so 1,000 sessions may live"),
        (2_063, 2_063, "note", "2,063 at most, so 999 sessions may live"),
        (68, 68, "note", "68 at most, so 2 sessions may live"),
        (65, 65, "problem", "65 at most leave none for a session; see ulimit -Hn"),
    ],
)
def test_the_limit_of_open_files_gives_the_number_of_sessions(soft: int, hard: int, mark: str, text: str) -> None:
    found = open_files(soft, hard)
    assert (found.mark, found.text) == (mark, text)


@pytest.mark.parametrize(
    ("limit", "meminfo", "mark", "says"),
    [
        (
            4 * 2**30,
            "MemAvailable: 3145728 kB\n",
            "ok",
            "4.3 GB, so 16,384 sessions may live by default: 128 KiB each",
        ),
        (4 * 2**30, "", "ok", "4.3 GB, so 16,384"),
        (
            4 * 2**30,
            "MemTotal: 1 kB\nMemAvailable: 1048576 kB\n",
            "note",
            "only 1.1 GB are available now, so set max_s",
        ),
        (128 * 2**20, "", "note", "134 MB, so 512 sessions may live by default"),
    ],
)
def test_the_memory_gives_the_number_of_sessions(limit: int, meminfo: str, mark: str, says: str) -> None:
    found = memory(limit, meminfo)
    assert found.mark == mark
    assert says in found.text


def test_sessions_that_an_edge_allows_and_the_memory_does_not_are_a_note(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(
        "".join(
            f'[edge.{name}]\nlisten = "tcp://127.0.0.1:0"\n{more}'
            'endpoint = { use = "forward", to = "tcp://127.0.0.1:1" }\n'
            for name, more in {"a": "max_sessions = 1_000\n", "b": "max_sessions = 100_000\n", "c": ""}.items()
        )
    )
    few, many = sessions_of(str(path), 2 * GB)
    assert (few.mark, few.subject) == ("ok", "edge a")
    assert few.text == "max_sessions = 1,000 may take 131 MB if no client reads"
    assert (many.mark, many.subject) == ("note", "edge b")
    assert many.text == "max_sessions = 100,000 may take 13 GB if no client reads, and there are 2.0 GB"


def test_a_target_with_faults_is_for_check_to_judge(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text("[edge.a]\n")
    assert list(sessions_of(str(tmp_path / "edge.toml"), GB)) == []
