"""The file of results: every value, and enough about the machine and the run to repeat it and to doubt it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.bars import Verdict
from tests.bench.peers import versions
from tests.bench.processes import ROOT
from tests.bench.run import Bench


def document(bench: Bench, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Make a document of a finished run."""
    found = bench.results
    medians = {
        metric: {peer: asdict(spread) for peer in peers if (spread := found.spread(metric, peer))}
        for metric, peers in found.raw.items()
    }
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "left_out": bench.left_out,
        "failures": bench.failures,
        "seconds": round(bench.seconds, 1),
        "core_time_stolen": round(bench.stolen, 4),
        "plan": asdict(bench.plan),
        "bars": [verdict.as_json() for verdict in verdicts],
        "spread": medians,
        "raw": found.raw,
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write the document, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def machine() -> dict[str, Any]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def commit() -> str:
    """The commit measured, with `+` behind it where the tree differs from it."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
