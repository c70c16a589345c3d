"""System calls of an edge that fail once when a test says so; all others go to the kernel."""

import os
import select
import socket
import sys
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


class Faults:
    """Which call fails next.

    Attributes:
        calls: how often each call was made since :meth:`arm`.
        failed: whether the armed call has failed.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.failed = False
        self._call, self._occurrence, self._errno = "", 0, 0

    def arm(self, call: str = "", occurrence: int = 0, errno: int = 0) -> None:
        """Let this occurrence of a call fail, counted from now on; without arguments none fails."""
        self.calls.clear()
        self.failed = False
        self._call, self._occurrence, self._errno = call, occurrence, errno

    def enter(self, call: str) -> None:
        """Count a call of the edge, and fail if it is the armed one."""
        self.calls[call] += 1
        if call == self._call and self.calls[call] == self._occurrence:
            self.failed = True
            raise OSError(self._errno, os.strerror(self._errno))


class Replaced:
    """A module some of whose names are other objects."""

    def __init__(self, module: ModuleType, **names: object) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def install(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Have every module of the package make its system calls through the faults that this returns."""
    faults = Faults()

    def failing(call: str, original: Callable[..., Any]) -> Any:
        def method(self: Any, *args: Any) -> Any:
            faults.enter(call)
            return original(self, *args)

        return method

    def made(base: type) -> type:
        calls = {
            "recv": ("recv", "recv_into"), "send": ("send",), "setsockopt": ("setsockopt",), "shutdown": ("shutdown",),
            "getsockopt": ("getsockopt",), "connect": ("connect_ex",), "accept": ("_accept",),
            "ioctl": ("setblocking",),
        }  # fmt: skip

        def make(self: Any, *args: Any) -> None:
            faults.enter("socket")
            base.__init__(self, *args)  # type: ignore[misc]

        def close(self: Any) -> None:
            base.close(self)  # type: ignore[attr-defined]  # the kernel frees the descriptor all the same
            faults.enter("close")

        names = {name: failing(call, getattr(base, name)) for call, each in calls.items() for name in each
                 if hasattr(base, name)}  # fmt: skip
        return type("FailingSocket", (base,), {"__init__": make, "close": close, **names})

    class Epoll:
        """An epoll object; its descriptor is real, so that Trio can wait for it."""

        def __init__(self) -> None:
            real = select.epoll()
            self.poll, self.fileno, self.close = real.poll, real.fileno, real.close
            self.unregister = real.unregister
            self._real = real

        def register(self, fd: int, mask: int) -> None:
            faults.enter("epoll_ctl(ADD)")
            self._real.register(fd, mask)

        def modify(self, fd: int, mask: int) -> None:
            faults.enter("epoll_ctl(MOD)")
            self._real.modify(fd, mask)

    sockets = Replaced(socket, socket=made(socket.socket), SocketType=made(socket.SocketType))
    for name, module in list(sys.modules.items()):
        if name.startswith("trioedge.") and getattr(module, "socket", None) is socket:
            monkeypatch.setattr(module, "socket", sockets)
    monkeypatch.setattr("trioedge.loop.reactor.select", Replaced(select, epoll=Epoll))
    return faults
