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

import gc
import os
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ...edge import Edge
from ...errors import ListenError, quote_fault
from ..exit_code import ExitCode, how_ended
from ..signals import STOP_SIGNALS
from ..workers.memory import shared_memory
from ..workers.orders import Orders
from ..workers.slots import CONTROL
from .accepting import Accepting
from .children import Child, Children
from .ending import Ending
from .inheritance import Inheritance
from .listening import ParentListening, hub_socket
from .manager import Manager
from .noted_signals import NotedSignals
from .restart import Passed, adopted, socket_of
from .restarting import Restarting
from .sockets import SocketGroup
from .successors import Successors

BeChild = Callable[[Inheritance], int]


class Holdings:
    """What a parent has: made at its start, or adopted from a former image of it, and passed on to the next."""

    def __init__(
        self,
        edges: dict[str, Edge],
        workers: int,
        *,
        stall_seconds: float,
        be_worker: BeChild,
        be_control: BeChild,
        log: Any,
    ) -> None:
        """Bind the addresses of the edges, or adopt what a former image has passed on; fork nothing yet.

        Args:
            edges: by name; those that an operator has ended are removed from it, so that no child serves them.
            workers: how many, at least 2.
            stall_seconds: how long the loop of a child may be silent.
            be_worker: is a worker, in a process of its own; gives its exit code.
            be_control: is the control process.
            log: a logger without a thread.

        Raises:
            ListenError: an address cannot be listened on.
        """
        self._edges, self._workers, self._stall_seconds = edges, workers, stall_seconds
        self._be_worker, self._be_control, self._log = be_worker, be_control, log
        self._signals = NotedSignals()
        self._successors = Successors(range(CONTROL, workers))
        self._was_ready: set[int] = set()
        self._crowded = False  # those that drain have all the places
        passed = adopted()
        self._memory, is_new = shared_memory(None if passed is None else passed.memory, workers)
        if passed is not None and is_new:
            log.warning("limits begin anew: this version keeps them in another form")
        self._children = children = Children(self._memory, 0 if passed is None else passed.generation + 1)
        self._ending = Ending(children, max(edge.drain_seconds for edge in edges.values()), log)
        self._listening = ParentListening(edges, workers, self._memory.steering_salt, log)
        self._restarting = Restarting(
            children, self._ending, self._listening, self._pass_on, log, succeeds=passed is not None
        )
        self._accepting = Accepting(edges, workers, children, self._listening)
        self._manager = Manager(children, self._ending, workers)
        groups, admins = ([], []) if passed is None else (passed.groups, passed.admins)
        self._unused = self._listening.bind([*map(SocketGroup.adopted, groups)], [*map(SocketGroup.adopted, admins)])
        if passed is None:
            self._hub, self._secret = hub_socket(), secrets.token_bytes(32)
            return
        self._hub, self._secret = socket_of(passed.hub), bytes.fromhex(passed.secret)
        self._signals.waiting += passed.signals
        for edge, address, fd in passed.kept:
            self._listening.keep(edge, address, fd)
        children.adopt(passed.children, with_columns=not is_new)
        for child in children.controls(old=True):
            child.orders.send({"do": "yield"})
        self._ending.drop([child for child in children.all.values() if not children.is_ready(child)], time.monotonic())

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
            signals=self._signals.waiting,
        )


class Parent(Holdings):
    """The parent of one program."""

    def run(self) -> ExitCode:
        """Serve until the signals that end it; call it once."""
        gc.collect()
        gc.freeze()  # a pass of the collector in a child would copy the pages of all these objects
        try:
            with self._signals.noted():
                while not (self._ending.stops and not self._children):
                    self._signals.wait(self._children.all.values())
                    self._turn(time.monotonic())
            return self._ending.code
        finally:
            self._listening.close_admins()

    def _turn(self, now: float) -> None:
        while self._signals.waiting:
            self._handle(self._signals.waiting.pop(0), now)
        self._reap(now)
        self._children.repair()
        for child in tuple(self._children.all.values()):
            child.orders.flush()
            self._hear(child, now)
        if self._ending.stops:
            self._ending.end_controls(now)
        else:
            self._fork_due(now)
            self._was_ready |= self._children.watch(now, self._stall_seconds, self._log)
            self._steer(now)
            if self._restarting.proceed(self._workers, now):
                self._close_unused()
        self._ending.kill_late(now)
        self._manager.turn(now)

    def _handle(self, number: int, now: float) -> None:
        if number in STOP_SIGNALS:
            self._stop(now)
        elif number == signal.SIGHUP:
            self._manager.reloading(now)
            self._tell_all({"do": "reload"})
        elif number == signal.SIGUSR2 and not self._ending.stops:
            self._restarting.begin(now)

    def _stop(self, now: float, seconds: float | None = None) -> None:
        self._ending.stop(now, seconds)
        self._restarting.end()
        self._listening.close()
        self._close_unused()

    def _close_unused(self) -> None:
        for group in self._unused:
            group.close()
        self._unused = []

    def _tell_all(self, order: Mapping[str, Any]) -> None:
        for child in self._children.all.values():
            child.orders.send(order)

    def _hear(self, child: Child, now: float) -> None:
        """Follow the messages of a child; one that cannot be followed is dropped, because no child ends the parent."""
        for message, fd in child.orders.receive():
            kept = False
            try:
                kept = self._follow(child, message, fd, now)
            except Exception as fault:
                if not child.strange:
                    child.strange = True
                    self._log.error("message of a child cannot be followed", child=child.title, pid=child.pid,
                                    error=quote_fault(fault))  # fmt: skip
            finally:
                if fd is not None and not kept:
                    os.close(fd)

    def _follow(self, child: Child, message: Mapping[str, Any], fd: int | None, now: float) -> bool:
        """Follow a message of a child, and return whether its descriptor is kept."""
        match message["say"]:
            case "ready":
                self._accepting.ready(child, message["edge"], now)
            case "keep" if fd is not None and not self._ending.stops:
                self._listening.keep(message["edge"], message["address"], fd)
                return True
            case "forget":
                self._listening.forget(message["edge"], message["address"])
            case "end":
                self._end_edge(message["edge"], message["seconds"], now)
            case "restart" if not self._ending.stops:
                self._restarting.begin(now)
            case "level":
                self._tell_all({"do": "level", "level": message["level"]})
        return False

    def _end_edge(self, edge: str, seconds: float | None, now: float) -> None:
        """Have the workers drain one edge; the last one ends the program."""
        self._accepting.end(edge)
        self._edges.pop(edge, None)
        if seconds is not None:
            self._ending.allow(seconds)
        if not self._accepting.edges:
            self._stop(now, seconds)
            return
        self._tell_all({"do": "drain", "edge": edge, "seconds": seconds})

    def _fork_due(self, now: float) -> None:
        for number in self._successors.due(now):
            try:
                child = self._children.fork(number, partial(self._be_child, number))
            except OSError as error:
                self._log.error("cannot fork", error=error.strerror)
                self._successors.put_off(number, now)
                continue
            if child is not None:
                self._successors.forked(number)
            elif not self._crowded:
                self._log.warning("no place for one more process: a successor waits until a worker has drained",
                                  processes=len(self._children))  # fmt: skip
            self._crowded = child is None

    def _be_child(self, number: int, orders: Orders, column: int) -> int:
        """Be a child, in its own process, and give its exit code."""
        for group in self._unused:
            group.close_copies()
        found = Inheritance(number, self._workers, column, self._children.generation, self._memory, orders,
                            self._listening, self._hub, self._secret, self._stall_seconds)  # fmt: skip
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
            if self._restarting.is_trial(pid):
                self._restarting.tried(code)
            elif (child := self._children.all.get(pid)) is not None:
                self._hear(child, now)  # its last words
                self._children.died(pid)
                self._mourn(child, code, now)

    def _mourn(self, child: Child, code: int, now: float) -> None:
        """Have a successor forked, if one is needed."""
        how = how_ended(code)
        if child.number != CONTROL and child.column is not None and code not in (ExitCode.DRAINED, ExitCode.CUT):
            self._memory.slots.note_death(child.column)
        if self._ending.stops:
            self._ending.ended(code)
            return
        if child.told or child.generation != self._children.generation:  # its successor is there, or comes
            if code not in (ExitCode.DRAINED, ExitCode.CUT):
                self._log.error("child of an old version died", child=child.title, pid=child.pid, how=how)
            return
        hopeless = code in (ExitCode.CONFIGURATION, ExitCode.LISTEN) and child.number not in self._was_ready
        if hopeless and not self._children.workers(old=True):
            self._ending.code = ExitCode(code)
            self._stop(now)
            return
        pause = self._successors.died(child.number, now - child.born, now)
        if code in (ExitCode.DRAINED, ExitCode.CUT):
            self._log.info("child has drained by itself, and is replaced", child=child.title, pid=child.pid)
        else:
            self._log.error("child died, and is replaced", child=child.title, pid=child.pid, how=how,
                            pause=round(pause, 1))  # fmt: skip

    def _steer(self, now: float) -> None:
        """Listen where workers are ready; end if that cannot be."""
        try:
            self._accepting.steer(now)
        except ListenError as error:
            self._log.error("edge cannot start", error=str(error))
            self._ending.code = ExitCode.LISTEN
            self._stop(now)
