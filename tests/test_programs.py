"""The real programs that tests talk to."""

import re
from pathlib import Path

from tests.support.programs import PROGRAMS

ROOT = Path(__file__).parent.parent


def test_where_a_missing_program_is_a_failure_every_program_is_installed() -> None:
    listed = (ROOT / ".ci/run").read_text().partition("for pair in ")[2].partition("; do")[0]
    assert set(re.findall(r":([\w.-]+)", listed)) == set(PROGRAMS.values())
