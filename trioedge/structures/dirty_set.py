"""What changed and is yet to be dealt with: each key once, however often it is marked.

The semantics of the work queue of Kubernetes (client-go, util/workqueue/queue.go), without its locks. Seed, the final
layer: what did not change is never looked at.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class DirtySet(Generic[K]):
    """Keys that wait, in the order in which they were marked, and keys that somebody has taken.

    A key is in one of the two at most, so nobody deals with it twice at once. As long as the keys are many: whoever
    marks bounds them. Every method is O(1) a key.
    """

    __slots__ = ("_processing", "_waiting")

    def __init__(self) -> None:
        self._waiting: OrderedDict[K, None] = OrderedDict()  # a dict is slow to give its first key, over and over
        self._processing: dict[K, bool] = {}  # and whether it was marked since it was taken

    def __len__(self) -> int:
        """Keys that wait; those taken are not among them."""
        return len(self._waiting)

    def __contains__(self, key: K) -> bool:
        """Whether `key` waits, or somebody has taken it."""
        return key in self._waiting or key in self._processing

    def mark(self, key: K) -> None:
        """Note that `key` changed. Free for one that waits; one that is taken will wait once it is done."""
        if key in self._processing:
            self._processing[key] = True
        else:
            self._waiting[key] = None

    def take(self, most: int) -> list[K]:
        """Give at most `most` keys, first marked first; the taker owes each a :meth:`done` or an :meth:`again`."""
        taken = [self._waiting.popitem(last=False)[0] for _ in range(min(most, len(self._waiting)))]
        for key in taken:
            self._processing[key] = False
        return taken

    def done(self, key: K) -> None:
        """`key`, which was taken, is dealt with: it is gone, or waits at the end if it was marked meanwhile."""
        if self._processing.pop(key):
            self._waiting[key] = None

    def drop(self, key: K) -> bool:
        """Forget `key`, if it waits; False if it does not."""
        waits = key in self._waiting
        if waits:
            del self._waiting[key]
        return waits

    def again(self, key: K) -> None:
        """`key`, which was taken, could not be dealt with: it waits at the end."""
        del self._processing[key]
        self._waiting[key] = None
