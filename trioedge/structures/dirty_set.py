"""A work queue without duplicates: the keys that changed and were not processed since.

The semantics of the work queue of Kubernetes (client-go, util/workqueue/queue.go), without its locks. A key that did
not change is never looked at.

| a key is | event | then |
| --- | --- | --- |
| clean | mark | waiting, behind all others |
| waiting | mark | waiting, in the same place |
| waiting | take | taken |
| waiting | drop | clean |
| taken | mark | taken and marked |
| taken | done | clean |
| taken and marked | done | waiting, behind all others |
| taken, marked or not | again | waiting, behind all others |
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class DirtySet(Generic[K]):
    """Keys to process, in the order in which they were first marked. Every method is O(1) for each key.

    Unbounded: the caller limits the number of distinct keys.
    """

    __slots__ = ("_processing", "_waiting")

    def __init__(self) -> None:
        # No key is in both, so no key is processed twice at the same time.
        self._waiting: OrderedDict[K, None] = OrderedDict()  # a dict gets slow when its first key is taken repeatedly
        self._processing: dict[K, bool] = {}  # True for a key that was marked since it was taken

    def __len__(self) -> int:
        """Keys that are waiting; keys that are taken do not count."""
        return len(self._waiting)

    def __contains__(self, key: K) -> bool:
        """Whether `key` is waiting or taken."""
        return key in self._waiting or key in self._processing

    def mark(self, key: K) -> None:
        """Note that `key` changed."""
        if key in self._processing:
            self._processing[key] = True
        else:
            self._waiting[key] = None

    def take(self, max_keys: int) -> list[K]:
        """Give at most `max_keys` waiting keys, first marked first. Each needs a :meth:`done` or an :meth:`again`."""
        taken = [self._waiting.popitem(last=False)[0] for _ in range(min(max_keys, len(self._waiting)))]
        for key in taken:
            self._processing[key] = False
        return taken

    def done(self, key: K) -> None:
        """Note that `key` was processed; it waits again if it was marked meanwhile.

        Raises:
            KeyError: `key` is not taken.
        """
        if self._processing.pop(key):
            self._waiting[key] = None

    def drop(self, key: K) -> bool:
        """Remove `key` if it is waiting; False if it is not."""
        waits = key in self._waiting
        if waits:
            del self._waiting[key]
        return waits

    def again(self, key: K) -> None:
        """Note that processing `key` failed; it waits again.

        Raises:
            KeyError: `key` is not taken.
        """
        del self._processing[key]
        self._waiting[key] = None
