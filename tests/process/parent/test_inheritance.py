import signal

from trioedge.process.parent.children import SIGNALS
from trioedge.process.parent.inheritance import STOPS
from trioedge.process.signals import STOP_SIGNALS


def test_the_signals_that_end_are_the_same_in_one_process_and_in_several_and_the_parent_handles_them() -> None:
    assert {*STOPS} == {*STOP_SIGNALS}
    assert {*STOPS} < {*SIGNALS}
    assert signal.SIGUSR2 not in STOPS
