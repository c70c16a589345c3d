"""Which workers accept the clients of which edge, as the parent has the kernel steer them.

| an edge | event | action | then |
| --- | --- | --- | --- |
| closed | every worker is ready, or some are and 2 s have passed | listen, and steer clients to those | open |
| open | a worker is ready, silent, told to end, or dead | steer clients to those that accept | open |
| open | an operator drains it | stop listening | ended |

While no worker accepts, clients wait in the backlogs.
"""

from collections.abc import Collection
from typing import Final

from .children import Child, Children
from .listening import ParentListening

GATHER_SECONDS: Final = 2.0
"""How long workers that are ready wait for the others at start, so that no source has to move a moment later."""


class Accepting:
    """The edges of one parent.

    Attributes:
        edges: those that have not ended.
    """

    def __init__(self, edges: Collection[str], workers: int, children: Children, listening: ParentListening) -> None:
        """Have all edges closed.

        Args:
            edges: their names.
            workers: how many there are.
            children: of the parent.
            listening: its sockets.
        """
        self.edges = set(edges)
        self._workers, self._children, self._listening = workers, children, listening
        self._first_ready: dict[str, float] = {}

    def ready(self, child: Child, edge: str, now: float) -> None:
        """Note that a worker is ready to accept the clients of an edge."""
        child.ready.add(edge)
        self._first_ready.setdefault(edge, now)
        if self._listening.listens(edge):
            child.orders.send({"do": "listen", "edge": edge})

    def end(self, edge: str) -> None:
        """Stop listening for an edge that drains."""
        self.edges.discard(edge)
        self._listening.close_edge(edge)

    def steer(self, now: float) -> None:
        """Listen where workers are ready, and steer clients to those that accept.

        Raises:
            ListenError: another process listens on an address; the message names it.
        """
        for edge in self.edges:
            ready = [child for child in self._children.workers() if edge in child.ready]
            accepting = frozenset(each.number for each in ready if each.accepts and each.number < self._workers)
            first = not self._listening.listens(edge)
            if first and len(accepting) < self._workers and now - self._first_ready.get(edge, now) < GATHER_SECONDS:
                continue
            self._listening.serve(edge, accepting)
            if first and self._listening.listens(edge):
                for child in ready:
                    child.orders.send({"do": "listen", "edge": edge})
