"""A network of its own for a test: the kernel's, with nothing in it but a loopback interface."""

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
CLONE_NEWNET = 0x40000000


def in_a_new_network(function: Callable[[], T]) -> T:
    """Run a function in a thread of its own, whose network has a loopback that is down, and what the function adds."""
    done: list[T] = []
    faults: list[BaseException] = []

    def body() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            done.append(function())
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if faults and isinstance(faults[0], PermissionError):
        pytest.skip("needs CAP_SYS_ADMIN, to make a network of its own")
    if faults:
        raise faults[0]
    return done[0]
