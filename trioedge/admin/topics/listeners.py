"""The listeners that policies name, over all processes that serve the edge."""

from typing import Any

import attrs

from ...control.supervisor import ControlState
from ...errors import MAX_FAULTS, Faults
from ...loop.slices import Stepwise
from ..asking import Answers, Parameters
from ..local import Local


def listeners_here(local: Local, parameters: Parameters) -> Stepwise[dict[str, Any]]:
    """Count the listeners of this process, and say why the first 100 that fail do."""
    yield
    listening = local.run.listening
    return {"open": listening.open, "failing": listening.failing, "errors": [*listening.errors][:MAX_FAULTS]}


def with_listeners(state: ControlState, answers: Answers) -> ControlState:
    """Give the state of a control plane with the listeners that all processes have opened."""
    errors = Faults()
    for each in answers.values:
        errors.extend(each["errors"], each["failing"] - len(each["errors"]))
    return attrs.evolve(state, listeners=sum(each["open"] for each in answers.values), listen_errors=tuple(errors))
