"""A program that a command imports for its edge does not serve."""

import pytest
import trio

import trioedge as te
from trioedge.errors import ConfigurationError
from trioedge.serving.loading import loading, refuse_while_loading


def make() -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://127.0.0.1:9"))


def test_within_the_block_a_call_is_refused_and_outside_it_is_not() -> None:
    refuse_while_loading("te.run(edge)")
    with loading():
        with pytest.raises(ConfigurationError) as refusal:
            refuse_while_loading("te.run(edge)")
        with loading():
            pass
        with pytest.raises(ConfigurationError):
            refuse_while_loading("te.run(edge)")
    assert str(refusal.value) == 'te.run(edge) is called at import: write it below if __name__ == "__main__":'
    refuse_while_loading("te.run(edge)")


def test_an_edge_is_not_served_at_import_by_trio_itself_either() -> None:
    edge = make()
    with loading(), pytest.raises(ConfigurationError, match=r"^edge\.serve\(\) is called at import"):
        trio.run(edge.serve)
    assert edge.phase.value == "idle"


def test_an_edge_is_not_run_at_import() -> None:
    with loading(), pytest.raises(ConfigurationError, match=r"^te\.run\(edge\) is called at import"):
        te.run(make())
