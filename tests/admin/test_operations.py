"""The table of operations."""

import re

import attrs
import pytest

import trioedge as te
from trioedge.admin.controlling import state_of
from trioedge.admin.operation import Operation
from trioedge.admin.operations import LOCAL, OPERATIONS, STATE
from trioedge.control.supervisor import WorkerState


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_each_operation_has_one_that_answers_it_and_its_path_its_parameters(operation: Operation) -> None:
    answered = [operation.own, operation.collect is not None, operation.merge is not None]
    assert answered.count(True) == 1
    assert (operation.here is None) is operation.own
    assert re.findall(r"\{(\w+)\}", operation.path) == [each.name for each in operation.of("path")]
    assert operation.says.endswith(".")


def test_the_state_has_the_fields_that_are_described() -> None:
    worker = WorkerState(0, 7, 0, True, None, "", False)
    state = state_of(attrs.evolve(te.ControlState("7", None, 2, "", None, "", 3, 4), workers=(worker,)))
    assert {*state} == {*STATE["properties"]}
    assert {*state["workers"][0]} == {*STATE["properties"]["workers"]["items"]["properties"]}


def test_names_and_paths_come_once() -> None:
    names = [each.name for each in OPERATIONS]
    paths = [(each.method, each.path) for each in OPERATIONS]
    assert len(names) == len(set(names))
    assert len(paths) == len(set(paths))


def test_a_process_answers_what_the_table_has_and_what_collecting_asks_for() -> None:
    own = {each.name for each in OPERATIONS if each.here is not None}
    assert {*LOCAL} - own == {"ends", "listeners", "metrics", "services-busiest", "services-named", "top-named"}
