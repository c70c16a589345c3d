"""The real nft, each time in a process with a network of its own; see `scenarios.py`."""

import subprocess
import sys
from pathlib import Path

import pytest
from scenarios import NO_NETWORK, SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_with_the_real_nft(name: str, real_nft: str) -> None:
    command = [sys.executable, str(Path(__file__).with_name("scenarios.py")), real_nft, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == NO_NETWORK:
        pytest.skip("needs CAP_SYS_ADMIN, to make a network of its own")
    assert (done.returncode, done.stderr) == (0, "")
