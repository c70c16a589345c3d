"""What the machine has for pacing: sockets that take a rate, and `fq`, the queue that spreads paced packets best.

`fq` is a luxury: without it TCP paces itself, with a timer for each socket. So what is missing here is said, and is
never an error.

What someone chose stays: only the kernel's own default, which has no handle, gives way to `fq`. The kernel sees to
that as well: `add` fails where a queue has a handle.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import attrs
import trio

from ...loop.sockets import SO_MAX_PACING_RATE, pace
from ...telemetry.observer import Observer

FQ: Final = "fq"
DEFAULTS: Final = frozenset({"noop", "noqueue", "pfifo", "pfifo_fast", "fq_codel", "mq"})
"""Kinds that a kernel puts on an interface by itself."""

SYSFS: Final = Path("/sys/class/net")

State: TypeAlias = Literal[
    "ready", "loopback", "down", "installed", "left alone", "missing",
    "kernel lacks it", "needs CAP_NET_ADMIN", "needs pyroute2", "failed",
]  # fmt: skip

_WORDS: Final[dict[State, str]] = {
    "ready": "fq paces what leaves here",
    "loopback": "nothing leaves the machine here",
    "down": "nothing leaves while the interface is down",
    "installed": "fq is here now, until the machine starts anew",
    "left alone": "someone chose {qdisc} here, and it stays",
    "missing": "{qdisc} is here, the kernel's default; trioedge doctor --fix puts fq in its place",
    "kernel lacks it": "this kernel has no module sch_fq",
    "needs CAP_NET_ADMIN": "only a process with CAP_NET_ADMIN may put fq here",
    "needs pyroute2": "pip install 'trioedge[fq]' brings what it takes to see and change this",
    "failed": "{error}",
}
_REFUSALS: Final[dict[int, State]] = {
    errno.ENOENT: "kernel lacks it",
    errno.EOPNOTSUPP: "kernel lacks it",
    errno.EPERM: "needs CAP_NET_ADMIN",
    errno.EACCES: "needs CAP_NET_ADMIN",
    errno.EEXIST: "left alone",  # by someone who was quicker than we
}
_UP: Final = 0x1
_LOOPBACK: Final = 0x8
_ROOT: Final = 0xFFFFFFFF


@attrs.frozen
class Interface:
    """A network interface, and what became of `fq` on it.

    Attributes:
        name: as in ``eth0``.
        eligible: it is up and not loopback; a container's end of a `veth` pair is.
        qdisc: the kind of the one at its root now; empty where that is not known.
        state: ``ready``: `fq` is there, on every queue if there are several. ``installed``: this call put it there.
            ``left alone``: someone set another kind. ``missing``: `fix` would try. ``failed``: `detail` says how.
        detail: the same for people, in a sentence.
    """

    name: str
    eligible: bool
    qdisc: str
    state: State
    detail: str


def pacing_support() -> Literal["kernel", "timeline"]:
    """Say who paces: the kernel, if a socket keeps the rate it is given, else the edge's own timeline."""
    with suppress(OSError), socket.socket() as sock:
        pace(sock, 1_000_000)
        if sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) == 1_000_000:
            return "kernel"
    return "timeline"


def survey(*, fix: bool = False) -> list[Interface]:
    """Look at every interface; blocks for milliseconds, and for the import of pyroute2 the first time.

    Args:
        fix: put `fq` where the kernel's default is. Several hardware queues have one each; if one of them cannot
            have it, the interface is given its default back.

    Returns:
        One for each, in the kernel's order. Without pyroute2, or where the process may not talk netlink, what
        `/sys` tells.
    """
    try:
        from pyroute2 import IPRoute, NetlinkError  # type: ignore[import-untyped]
    except ImportError:
        return list(_from_sysfs("needs pyroute2"))
    try:
        with IPRoute() as ip:
            return [_look(ip, link, fix) for link in _links(ip)]
    except (OSError, NetlinkError) as error:
        return list(_from_sysfs("failed", f"netlink: {_reason(error)}"))


async def prepare_fq(observer: Observer) -> None:
    """Put `fq` where it may be, and log the result for each interface but loopback, once.

    After a cancel the thread is left to end by itself; what it puts in place stays.
    """
    for each in await trio.to_thread.run_sync(partial(survey, fix=True), abandon_on_cancel=True):
        if each.state != "loopback":
            observer.say("fq", interface=each.name, state=each.state, detail=each.detail)


class _Qdisc(NamedTuple):
    """A queue as the kernel lists it."""

    kind: str
    handle: int
    parent: int


_NOOP: Final = _Qdisc("noop", 0, _ROOT)
"""What is there where the kernel lists nothing."""


@attrs.frozen
class _Link:
    """An interface as the kernel lists it, with its root qdisc and, below `mq`, one qdisc for each hardware queue."""

    index: int
    name: str
    flags: int
    root: _Qdisc
    queues: list[_Qdisc]

    @property
    def ready(self) -> bool:
        kinds = {queue.kind for queue in self.queues} if self.root.kind == "mq" else {self.root.kind}
        return kinds == {FQ}

    @property
    def untouched(self) -> bool:
        return all(each.handle == 0 and each.kind in DEFAULTS for each in (self.root, *self.queues))


def _links(ip: Any) -> Iterator[_Link]:
    found: dict[int, list[_Qdisc]] = {}
    for each in ip.get_qdiscs():
        qdisc = _Qdisc(each.get_attr("TCA_KIND"), each["handle"], each["parent"])
        found.setdefault(each["index"], []).append(qdisc)
    for each in ip.get_links():
        qdiscs = found.get(each["index"], [])
        root = next((qdisc for qdisc in qdiscs if qdisc.parent == _ROOT), _NOOP)
        queues = [qdisc for qdisc in qdiscs if qdisc.parent >> 16 == root.handle >> 16] if root.kind == "mq" else []
        yield _Link(each["index"], each.get_attr("IFLA_IFNAME"), each["flags"], root, queues)


def _look(ip: Any, link: _Link, fix: bool) -> Interface:
    see = partial(_interface, link.name, link.flags)
    if link.ready:
        return see("ready", link.root.kind)
    if not link.untouched:
        return see("left alone", link.root.kind)
    if not fix or not _eligible(link.flags):
        return see("missing", link.root.kind)
    from pyroute2 import NetlinkError

    try:
        _install(ip, link)
    except NetlinkError as error:
        state = _REFUSALS.get(error.code, "failed")
        qdisc = "" if state == "left alone" else link.root.kind
        return see(state, qdisc, _reason(error))
    return see("installed", "mq" if link.queues else FQ)


def _install(ip: Any, link: _Link) -> None:
    """Put `fq` at the root, or on each queue below `mq`, all of them or none."""
    from pyroute2.netlink.rtnl.tcmsg import plugins, sched_template  # type: ignore[import-untyped]

    plugins.setdefault(FQ, sched_template)  # pyroute2 puts kinds that it does not know at the root, whatever we say
    if not link.queues:
        ip.tc("add", FQ, link.index)
        return
    ip.tc("add", "mq", link.index)  # with a handle: the default `mq` has none, and so no place for children
    try:
        (again,) = (each for each in _links(ip) if each.index == link.index)
        for queue in again.queues:
            ip.tc("add", FQ, link.index, parent=queue.parent)
    except BaseException:
        ip.tc("del", index=link.index, parent=_ROOT)  # the kernel puts its default back
        raise


def _from_sysfs(state: State, error: str = "") -> Iterator[Interface]:
    for path in sorted(SYSFS.glob("*/flags")):
        with suppress(OSError, ValueError):  # an interface that leaves
            yield _interface(path.parent.name, int(path.read_text(), 16), state, "", error)


def _interface(name: str, flags: int, state: State, qdisc: str, error: str = "") -> Interface:
    """Make the record; `state` is for what is eligible."""
    eligible = _eligible(flags)
    if not eligible:
        state = "loopback" if flags & _LOOPBACK else "down"
    return Interface(name, eligible, qdisc, state, _WORDS[state].format(qdisc=qdisc or "a queue", error=error))


def _eligible(flags: int) -> bool:
    return flags & (_UP | _LOOPBACK) == _UP


def _reason(error: Any) -> str:
    """Give the words of an error; pyroute2's say the number only."""
    return os.strerror(error.code) if hasattr(error, "code") else str(error.strerror or error)
