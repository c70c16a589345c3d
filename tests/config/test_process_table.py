from typing import get_args

import attrs

from trioedge.config.process_table import ProcessTable
from trioedge.process import logs


def test_its_levels_and_forms_are_those_of_the_command_line() -> None:
    kinds = attrs.fields(ProcessTable)
    assert get_args(kinds.log_level.type) == get_args(logs.LogLevel)
    assert get_args(kinds.log_format.type) == get_args(logs.LogFormat)
    assert ProcessTable() == ProcessTable(log_format="console", log_level="info")
