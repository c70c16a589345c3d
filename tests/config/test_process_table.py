from typing import get_args

from trioedge.config.process_table import Level, ProcessTable
from trioedge.process import logs


def test_its_levels_and_forms_are_those_of_the_command_line() -> None:
    assert get_args(Level) == get_args(logs.LogLevel)
    assert ProcessTable() == ProcessTable(log_format="console", log_level="info")
