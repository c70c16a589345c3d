"""What a child has from its parent."""

import socket

import attrs

from ..workers.memory import SharedMemory
from ..workers.orders import Orders
from .listening import ParentListening


@attrs.frozen
class Inheritance:
    """What a child has from its parent, by the fork.

    Attributes:
        number: of the worker; -1 for the control process.
        workers: how many there are.
        column: of this process.
        generation: how many restarts came before it.
        memory: shared by all.
        orders: to the parent.
        listening: of the parent; a worker takes its sockets out of it.
        hub: the socket on which the control process accepts workers.
        secret: with which a worker proves that it is one.
        stall_seconds: a loop that is silent for longer is blocked.
    """

    number: int
    workers: int
    column: int
    generation: int
    memory: SharedMemory
    orders: Orders
    listening: ParentListening
    hub: socket.socket
    secret: bytes
    stall_seconds: float
