"""Bytes that the sessions of one unknown device may move between them, until it is known whether they may at all."""

from collections.abc import Callable
from typing import Final

UNLIMITED: Final = 1 << 62
"""What a lifted allowance has left: more than sessions live to move, so that whoever counts down may go on."""


class Allowance:
    """A number of bytes, shared by all sessions of a device and both directions, that is lifted once it is known.

    A relay reads at most :attr:`left` bytes and takes off what it read. When nothing is left it stops reading and
    waits. Nothing here says no: a device that is refused has its sessions cut, and each forgets its callback.
    """

    __slots__ = ("_waiting", "left", "lifted")

    def __init__(self, left: int) -> None:
        """Allow `left` bytes; with 0 the sessions wait from the start."""
        self.left = left
        """Bytes that may still be moved; below 1, none. The relay itself writes it, in one subtraction."""
        self.lifted = False
        """There is no bound any more: who sees this may drop the allowance."""
        self._waiting: dict[Callable[[], object], None] = {}

    def wait(self, callback: Callable[[], object]) -> None:
        """Have `callback` called when the allowance is lifted, at once if it is; asking twice is asking once.

        It must not raise.
        """
        if self.lifted:
            callback()
        else:
            self._waiting[callback] = None

    def forget(self, callback: Callable[[], object]) -> None:
        """Do not call `callback` any more; no harm if it does not wait."""
        self._waiting.pop(callback, None)

    def lift(self) -> None:
        """Set no bound from now on and call everybody who waits, once, last in first out. Lifting twice is harmless."""
        self.lifted = True
        self.left = UNLIMITED
        while self._waiting:  # a callback may end another session, which then forgets its own
            self._waiting.popitem()[0]()
