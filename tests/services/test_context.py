import trioedge as te
from trioedge.services.context import Bound


def test_an_endpoint_with_bind_is_bound_and_a_stage_without_is_not() -> None:
    assert isinstance(te.Forward("tcp://127.0.0.1:1"), Bound)
    assert not isinstance(te.IdleTimeout(1), Bound)
