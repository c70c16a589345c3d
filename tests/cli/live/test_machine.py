import pytest

from tests.support.fake_edge import MACHINE
from trioedge.cli.live.machine import machine_facts
from trioedge.cli.table import Cell


def words(**changes: object) -> list[tuple[str, object]]:
    return [
        (name, value.text if isinstance(value, Cell) else value)
        for name, value in machine_facts({**MACHINE, **changes})
    ]


def test_each_limit_is_told_with_its_use() -> None:
    assert words() == [
        ("open files", "312 of 1,024 (30%)"),
        ("memory", "48 MB"),
        ("loop stall", "0.4 ms"),
        ("backlog", "7 clients dropped since the machine began"),
        ("devices", "900 of 1,000 (90%)"),
    ]


def test_what_is_not_known_is_left_open() -> None:
    found = dict(words(loop_stall_ms=None, listen_overflows=None, tables=[]))
    assert (found["loop stall"], found["backlog"]) == (None, None)


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({}, ["devices"]),
        ({"tables": []}, []),
        ({"tables": [], "descriptors": {"used": 800, "limit": 1000}}, ["open files"]),
        ({"tables": [], "descriptors": {"used": 0, "limit": 0}}, ["open files"]),
        ({"tables": [], "loop_stall_ms": 50.0}, ["loop stall"]),
    ],
)
def test_a_limit_that_is_near_is_red(changes: dict[str, object], near: list[str]) -> None:
    facts = machine_facts({**MACHINE, **changes})
    assert [name for name, value in facts if isinstance(value, Cell) and value.style == "red"] == near
