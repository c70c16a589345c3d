"""Devices that came online and went, of which the control plane is notified once the device table is at rest.

The table is in the middle of a change when a device comes or goes, and the control plane may judge devices or evict
sessions in answer. So the table notes what happened, and its caller passes that on after each call of the table.
"""

from collections import deque
from typing import Final

from ...services.control_plane import FollowsDevices
from ...telemetry.log import STOPS, EdgeLog
from .memory import Move


class DeviceNews:
    """Notifies a control plane of the devices that came and went, in order, each once.

    Attributes:
        moves: what the table has noted, oldest first.
    """

    __slots__ = ("_follower", "_log", "_telling", "moves")

    def __init__(self, follower: FollowsDevices, log: EdgeLog) -> None:
        """Start without news.

        Args:
            follower: notified of the devices.
            log: logs its exceptions.
        """
        self._follower: Final = follower
        self._log: Final = log
        self._telling = False
        self.moves: deque[Move] = deque()

    def tell(self) -> None:
        """Notify the control plane of every move; it is not called again within itself, so the order stays."""
        if self._telling:
            return  # the call that is under way takes what was added
        self._telling = True
        try:
            while self.moves:
                came, service, device = self.moves.popleft()
                try:
                    (self._follower.came if came else self._follower.went)(service, device)
                except STOPS:
                    raise
                except BaseException as fault:
                    self._log.fault("control plane failed to follow a device", fault, service=service)
        finally:
            self._telling = False
