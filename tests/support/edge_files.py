"""Edges out of TOML texts, and the faults of such texts."""

from pathlib import Path

import pytest

import trioedge as te
from trioedge.config.edge_file import EdgeFile, edges_of
from trioedge.errors import EdgeFileError

HEAD = '[edge.a]\nlisten = "tcp://127.0.0.1:0"\n'


def read(text: str, folder: Path = Path("/")) -> EdgeFile:
    """Make the edges of a text, as if it stood in `folder`."""
    return edges_of(text, folder / "edge.toml", "edge.toml")


def faults(text: str, folder: Path = Path("/")) -> list[str]:
    """Return the faults of a text, without the name of the file; it must have some."""
    with pytest.raises(te.ConfigurationError) as error:
        read(text, folder)
    found = error.value.faults if isinstance(error.value, EdgeFileError) else (str(error.value),)
    assert all("\n" not in fault for fault in found)
    return [fault.removeprefix("edge.toml:") for fault in found]


def with_stage(line: str, rest: str = "", to: str = ', to = "tcp://127.0.0.1:1"') -> str:
    """Return the text of an edge with one stage, whose table is on line 3; `to` is empty before a stage that routes."""
    return f'{HEAD}stages = [{line}]\nendpoint = {{ use = "forward"{to} }}\n{rest}'
