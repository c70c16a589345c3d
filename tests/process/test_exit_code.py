import re
from pathlib import Path

from trioedge.process.exit_code import ExitCode


def test_the_codes_are_those_of_the_guide_and_never_change() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DRAINED": 0, "FAULT": 1, "CONFIGURATION": 2, "LISTEN": 3, "CUT": 4, "KILLED": 5,
    }  # fmt: skip
    guide = Path(__file__).parents[2].joinpath("docs/reference/command-line.md").read_text()
    assert {*re.findall(r"^\| (\d) \|", guide, re.MULTILINE)} >= {str(code.value) for code in ExitCode}
