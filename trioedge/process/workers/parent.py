"""The parent of the workers: it has no event loop of Trio's and no thread, so that it may fork at any time.

| state | event | action | then |
| --- | --- | --- | --- |
| starting | - | bind, or adopt; fork the control process and the workers | serving |
| serving | a child dies | fork its successor, at once or after a pause if it has not lived for a second | serving |
| serving | a child that was never ready ends with a fault of configuration | drain | draining, its code |
| serving | SIGHUP | children reload | serving |
| serving | SIGUSR2 | a trial of the new version | serving |
| serving | the trial is good | the image is replaced, and starts | starting |
| serving | every new worker is ready | the old children drain | serving |
| serving | SIGTERM, SIGINT, SIGQUIT | close the sockets; the workers drain | draining |
| draining | a second one | the workers cut their sessions | draining |
| draining | a third one | kill every child | ended, 5 |
| draining | no worker is left | the control process sends the last reports | ending |
| ending | no child is left | | ended |
"""

import contextlib
import gc
import os
import secrets
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs

from ...edge import Edge
from ...errors import ConfigurationError
from ..exit_code import ExitCode
from .children import SIGNALS, Child, Children
from .ending import Ending
from .listening import ParentListening, hub_socket
from .memory import SharedMemory, shared_memory
from .orders import Orders
from .renewal import Renewal
from .restart import Passed, adopted, socket_of
from .slots import CONTROL
from .sockets import SocketGroup
from .successors import Successors

TICK_SECONDS: Final = 0.1
"""The longest time between two looks at the children."""

GATHER_SECONDS: Final = 2.0
"""How long workers that are ready wait for the others at start, so that no source has to move a moment later."""

STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


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


BeChild = Callable[[Inheritance], int]


class Parent:
    """The parent of one program."""

    def __init__(
        self,
        edges: Mapping[str, Edge],
        workers: int,
        *,
        stall_seconds: float,
        be_worker: BeChild,
        be_control: BeChild,
        log: Any,
    ) -> None:
        """Bind the addresses of the edges, or adopt what a former image has passed on; fork nothing yet.

        Args:
            edges: by name.
            workers: how many, at least 2.
            stall_seconds: how long the loop of a child may be silent.
            be_worker: is a worker, in a process of its own; gives its exit code.
            be_control: is the control process.
            log: a logger without a thread.

        Raises:
            ListenError: an address cannot be listened on.
        """
        self._edges, self._workers, self._stall_seconds = dict(edges), workers, stall_seconds
        self._be_worker, self._be_control, self._log = be_worker, be_control, log
        self._signals: list[int] = []
        self._successors = Successors(range(CONTROL, workers))
        self._was_ready: set[int] = set()
        self._first_ready: dict[str, float] = {}
        self._ended: set[str] = set()  # edges that an operator has drained
        passed = adopted()
        self._memory, is_new = shared_memory(None if passed is None else passed.memory, workers)
        if passed is not None and is_new:
            log.warning("limits begin anew: this version keeps them in another form")
        self._children = children = Children(self._memory, 0 if passed is None else passed.generation + 1)
        self._ending = Ending(children, max(edge.drain_seconds for edge in edges.values()), log)
        self._renewal = Renewal(children, self._ending, self._pass_on, log, succeeds=passed is not None)
        self._listening = ParentListening(edges, workers, self._memory.steering_salt, log.warning)
        groups, admins = ([], []) if passed is None else (passed.groups, passed.admins)
        self._unused = self._listening.bind([*map(SocketGroup.adopted, groups)], [*map(SocketGroup.adopted, admins)])
        if passed is None:
            self._hub, self._secret = hub_socket(), secrets.token_bytes(32)
            return
        self._hub, self._secret = socket_of(passed.hub), bytes.fromhex(passed.secret)
        self._signals += passed.signals
        for edge, address, fd in passed.kept:
            self._listening.keep(edge, address, fd)
        children.adopt(passed.children, with_columns=not is_new)
        for child in children.controls(old=True):
            child.orders.send({"do": "yield"})

    def run(self) -> ExitCode:
        """Serve until the signals that end it; call it once."""
        readable, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        wakeup = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # a former image has blocked them
        gc.collect()
        gc.freeze()  # a pass of the collector in a child would copy the pages of all these objects
        try:
            while not (self._ending.stops and not self._children):
                self._wait(readable)
                self._turn(time.monotonic())
            return self._ending.code
        finally:
            self._listening.close_admins()
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            os.close(readable)
            os.close(woken)

    def _note(self, number: int, _: object) -> None:
        self._signals.append(number)

    def _wait(self, readable: int) -> None:
        """Wait for a signal, for a child's message, or for the next look."""
        poll = select.poll()
        poll.register(readable, select.POLLIN)
        for child in self._children.all.values():
            if not child.orders.over:
                poll.register(child.orders.sock, select.POLLIN | (select.POLLOUT if child.orders.waits else 0))
        poll.poll(TICK_SECONDS * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(readable, 4096)

    def _turn(self, now: float) -> None:
        while self._signals:
            self._handle(self._signals.pop(0), now)
        self._reap(now)
        self._children.repair()
        for child in tuple(self._children.all.values()):
            child.orders.flush()
            for message, fd in child.orders.receive():
                self._follow(child, message, fd, now)
        if self._ending.stops:
            self._ending.end_controls(now)
        else:
            self._fork_due(now)
            self._was_ready |= self._children.watch(now, self._stall_seconds, self._log)
            self._steer(now)
            if self._renewal.proceed(self._workers, now):
                self._close_unused()
        self._ending.kill_late(now)

    def _handle(self, number: int, now: float) -> None:
        if number in STOPS:
            self._stop(now)
        elif number == signal.SIGHUP:
            self._tell_all({"do": "reload"})
        elif number == signal.SIGUSR2 and not self._ending.stops:
            self._renewal.begin(now)

    def _stop(self, now: float, seconds: float | None = None) -> None:
        self._ending.stop(now, seconds)
        self._listening.close()
        self._close_unused()

    def _close_unused(self) -> None:
        for group in self._unused:
            group.close()
        self._unused = []

    def _tell_all(self, order: Mapping[str, Any]) -> None:
        for child in self._children.all.values():
            child.orders.send(order)

    def _follow(self, child: Child, message: Mapping[str, Any], fd: int | None, now: float) -> None:
        """Follow a message of a child."""
        match message["say"]:
            case "ready":
                child.ready.add(message["edge"])
                self._first_ready.setdefault(message["edge"], now)
                if self._listening.listens(message["edge"]):
                    child.orders.send({"do": "listen", "edge": message["edge"]})
            case "keep" if fd is not None and not self._ending.stops:
                self._listening.keep(message["edge"], message["address"], fd)
                return
            case "forget":
                self._listening.forget(message["edge"], message["address"])
            case "end":
                self._end_edge(message["edge"], message["seconds"], now)
            case "level":
                self._tell_all({"do": "level", "level": message["level"]})
        if fd is not None:
            os.close(fd)

    def _end_edge(self, edge: str, seconds: float | None, now: float) -> None:
        """Have the workers drain one edge; the last one ends the program."""
        self._ended.add(edge)
        if seconds is not None:
            self._ending.allow(seconds)
        if self._ended >= set(self._edges):
            self._stop(now, seconds)
            return
        self._listening.close_edge(edge)
        self._tell_all({"do": "drain", "edge": edge, "seconds": seconds})

    def _fork_due(self, now: float) -> None:
        for number in self._successors.due(now):
            try:
                child = self._children.fork(number, partial(self._be_child, number))
            except OSError as error:
                self._log.error("cannot fork", error=error.strerror)
                self._successors.put_off(number, now)
                continue
            if child is not None:  # else those that drain have all the columns
                self._successors.forked(number)

    def _be_child(self, number: int, orders: Orders, column: int) -> int:
        """Be a child, in its own process, and give its exit code."""
        for edge in self._ended:
            self._edges.pop(edge)
        found = Inheritance(number, self._workers, column, self._children.generation, self._memory, orders,
                            self._listening, self._hub, self._secret)  # fmt: skip
        return (self._be_control if number == CONTROL else self._be_worker)(found)

    def _reap(self, now: float) -> None:
        """See which children have died."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            if self._renewal.is_trial(pid):
                self._renewal.tried(code)
            elif (child := self._children.died(pid)) is not None:
                self._mourn(child, code, now)

    def _mourn(self, child: Child, code: int, now: float) -> None:
        """Have a successor forked, if one is needed."""
        if child.told or self._ending.stops:
            self._ending.ended(code)
            return
        if child.generation != self._children.generation:
            return  # its successor is there, or comes
        hopeless = code in (ExitCode.CONFIGURATION, ExitCode.LISTEN) and child.number not in self._was_ready
        if hopeless and not self._children.workers(old=True):
            self._ending.code = ExitCode(code)
            self._stop(now)
            return
        pause = self._successors.died(child.number, now - child.born, now)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if code in (ExitCode.DRAINED, ExitCode.CUT):
            self._log.info("child has drained by itself, and is replaced", child=child.title, pid=child.pid)
        else:
            self._log.error("child died, and is replaced", child=child.title, pid=child.pid, how=how,
                            pause=round(pause, 1))  # fmt: skip

    def _steer(self, now: float) -> None:
        """Listen on the addresses of each edge, and steer its clients to the workers that accept them."""
        for edge in self._edges.keys() - self._ended:
            ready = [child for child in self._children.workers() if edge in child.ready]
            accepting = frozenset(each.number for each in ready if each.accepts and each.number < self._workers)
            first = not self._listening.listens(edge)
            if first and len(accepting) < self._workers and now - self._first_ready.get(edge, now) < GATHER_SECONDS:
                continue
            try:
                self._listening.serve(edge, accepting)
            except ConfigurationError as error:
                self._log.error("edge cannot start", edge=edge, error=str(error))
                self._ending.code = ExitCode.LISTEN
                self._stop(now)
                return
            if first and self._listening.listens(edge):
                for child in ready:
                    child.orders.send({"do": "listen", "edge": edge})

    def _pass_on(self) -> Passed:
        """Give all that the next image needs."""
        return Passed(
            generation=self._children.generation,
            memory=self._memory.fd,
            hub=self._hub.fileno(),
            secret=self._secret.hex(),
            groups=[group.passed() for group in (*self._listening.groups, *self._unused)],
            admins=[group.passed() for group in self._listening.admins],
            kept=[(edge, str(address), fd) for (edge, address), fd in self._listening.kept.items()],
            children=self._children.passed(),
            signals=self._signals,
        )
