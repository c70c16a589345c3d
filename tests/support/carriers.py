"""Carriers of sessions that move the bytes that a test says."""

from trioedge.session.verdict import Reason


class CountedCarrier:
    """A carrier that relays nothing; a test sets its byte counts.

    Attributes:
        asked: how often the bytes in the kernel's queues were asked for.
        unsent: those bytes, down and up.
        paced: the rates that it was told, down and up, in order.
    """

    phase = "relaying"
    pacing = "kernel"
    began_at = 0.0

    def __init__(self) -> None:
        self.bytes_down = self.bytes_up = 0
        self.asked = 0
        self.unsent = 0, 0
        self.paced: list[tuple[float, float]] = []

    def pace(self, down_rate: float, up_rate: float) -> None:
        self.paced.append((down_rate, up_rate))

    def queued(self) -> tuple[int, int]:
        self.asked += 1
        return self.unsent

    def cut(self, reason: Reason) -> None: ...
