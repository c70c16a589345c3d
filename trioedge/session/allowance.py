"""A byte allowance: how much the sessions of an unknown device may move before the device is admitted."""

from collections.abc import Callable
from typing import Final

UNLIMITED: Final = 1 << 62
"""The bytes left of a lifted allowance: more than a session can move, so that relays may go on to subtract."""


class Allowance:
    """A number of bytes, shared by all sessions of a device in both directions, until it is lifted.

    A relay reads at most :attr:`left` bytes and subtracts the bytes it read. When no byte is left it stops and waits.
    An allowance does not refuse: the sessions of a device that is denied are cut, and each forgets its callback.

    | state | event | action |
    | --- | --- | --- |
    | limited | wait | the callback waits; a second time has no effect |
    | limited | forget | the callback waits no more |
    | limited | lift | every waiting callback is called once, last in first out |
    | lifted | wait | the callback is called at once |
    | lifted | lift, forget | none |
    """

    __slots__ = ("_waiting", "left", "lifted")

    def __init__(self, left: int) -> None:
        """Allow `left` bytes, at least 0; with 0 the sessions wait from the start."""
        self.left = left
        """Bytes that may still be moved; none if below 1. Relays subtract from it."""
        self.lifted = False
        """There is no limit any more: a session may drop the allowance."""
        self._waiting: dict[Callable[[], object], None] = {}

    def wait(self, callback: Callable[[], object]) -> None:
        """Call `callback`, which must not raise, once the allowance is lifted; at once if it is lifted already."""
        if self.lifted:
            callback()
        else:
            self._waiting[callback] = None

    def forget(self, callback: Callable[[], object]) -> None:
        """Do not call `callback` any more; does nothing if it is not waiting."""
        self._waiting.pop(callback, None)

    def lift(self) -> None:
        """Remove the limit and call every waiting callback."""
        self.lifted = True
        self.left = UNLIMITED
        while self._waiting:  # a callback may end another session, which then forgets its callback
            self._waiting.popitem()[0]()
