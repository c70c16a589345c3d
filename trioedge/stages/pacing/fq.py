"""Pacing support of the machine: whether sockets keep a rate, and whether interfaces have `fq`, the queue for it.

`fq` is optional: without it TCP paces itself, with a timer for each socket. So a missing `fq` is reported and is never
an error.

A queue that an administrator has set is left alone: only the kernel's own default, which has no handle, is replaced.
The kernel makes sure of it as well: `add` fails where a queue has a handle.
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

from ...loop.sockets import SO_MAX_PACING_RATE, pace

FQ: Final = "fq"
DEFAULTS: Final = frozenset({"noop", "noqueue", "pfifo", "pfifo_fast", "fq_codel", "mq"})
"""Kinds that a kernel sets on an interface by default."""

SYSFS: Final = Path("/sys/class/net")

State: TypeAlias = Literal[
    "ready", "loopback", "down", "installed", "left alone", "missing",
    "kernel lacks it", "needs CAP_NET_ADMIN", "needs pyroute2", "failed",
]  # fmt: skip

_WORDS: Final[dict[State, str]] = {
    "ready": "fq paces the packets that leave here",
    "loopback": "no packet leaves the machine here",
    "down": "no packet leaves while the interface is down",
    "installed": "fq was installed, until the machine restarts",
    "left alone": "{qdisc} was set here on purpose, and stays",
    "missing": "{qdisc} is here, the kernel's default; trioedge doctor --fix puts fq in its place",
    "kernel lacks it": "this kernel has no module sch_fq",
    "needs CAP_NET_ADMIN": "only a process with CAP_NET_ADMIN may install fq here",
    "needs pyroute2": "pip install '.[fq]' in the checkout installs what it takes to see and change queues",
    "failed": "{error}",
}
_REFUSALS: Final[dict[int, State]] = {
    errno.ENOENT: "kernel lacks it",
    errno.EOPNOTSUPP: "kernel lacks it",
    errno.EPERM: "needs CAP_NET_ADMIN",
    errno.EACCES: "needs CAP_NET_ADMIN",
    errno.EEXIST: "left alone",  # a queue was set meanwhile
}
_UP: Final = 0x1
_LOOPBACK: Final = 0x8
_ROOT: Final = 0xFFFFFFFF


@attrs.frozen
class Interface:
    """A network interface, and the state of `fq` on it.

    Attributes:
        name: as in ``eth0``.
        eligible: it is up and not loopback, so `fq` is of use there. A container's end of a `veth` pair is eligible.
        qdisc: the kind of the queue at its root now; empty where that is not known.
        state: ``ready``: `fq` is there, on every hardware queue. ``installed``: this call installed it. ``left alone``:
            an administrator set another kind. ``missing``: `fix` would try. ``failed``: `detail` has the error.
        detail: the state for people, in a sentence.
    """

    name: str
    eligible: bool
    qdisc: str
    state: State
    detail: str


def pacing_support() -> Literal["kernel", "timeline"]:
    """Return what paces: the kernel, if a socket keeps the rate it is given, else the edge's own timeline."""
    with suppress(OSError), socket.socket() as sock:
        pace(sock, 1_000_000)
        if sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) == 1_000_000:
            return "kernel"
    return "timeline"


def survey(*, fix: bool = False) -> list[Interface]:
    """List every interface; blocks for some milliseconds, and for the import of pyroute2 the first time.

    Args:
        fix: replace the kernel's default queue by `fq`. Each of several hardware queues gets one; if one of them
            cannot have it, the interface gets its default back.

    Returns:
        The interfaces, in the kernel's order. Without pyroute2, or where the process may not use netlink, the
        interfaces that `/sys` lists, without their queues.
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


class _Qdisc(NamedTuple):
    """A queue, as the kernel lists it."""

    kind: str
    handle: int
    parent: int


_NOOP: Final = _Qdisc("noop", 0, _ROOT)
"""The queue of an interface for which the kernel lists none."""


@attrs.frozen
class _Link:
    """An interface, as the kernel lists it, with its root queue and, below `mq`, one for each hardware queue."""

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
    """Set `fq` at the root, or on each queue below `mq`, on all of them or none."""
    from pyroute2.netlink.rtnl.tcmsg import plugins, sched_template  # type: ignore[import-untyped]

    plugins.setdefault(FQ, sched_template)  # pyroute2 sets a kind that it does not know at the root only
    if not link.queues:
        ip.tc("add", FQ, link.index)
        return
    ip.tc("add", "mq", link.index)  # with a handle: the default `mq` has none, so it cannot have children
    try:
        (again,) = (each for each in _links(ip) if each.index == link.index)
        for queue in again.queues:
            ip.tc("add", FQ, link.index, parent=queue.parent)
    except BaseException:
        ip.tc("del", index=link.index, parent=_ROOT)  # the kernel restores its default
        raise


def _from_sysfs(state: State, error: str = "") -> Iterator[Interface]:
    for path in sorted(SYSFS.glob("*/flags")):
        with suppress(OSError, ValueError):  # the interface was removed meanwhile
            yield _interface(path.parent.name, int(path.read_text(), 16), state, "", error)


def _interface(name: str, flags: int, state: State, qdisc: str, error: str = "") -> Interface:
    """Make the record of an interface; `state` applies if it is eligible."""
    eligible = _eligible(flags)
    if not eligible:
        state = "loopback" if flags & _LOOPBACK else "down"
    return Interface(name, eligible, qdisc, state, _WORDS[state].format(qdisc=qdisc or "a queue", error=error))


def _eligible(flags: int) -> bool:
    return flags & (_UP | _LOOPBACK) == _UP


def _reason(error: Any) -> str:
    """Return the text of an error; pyroute2's own has the number only."""
    return os.strerror(error.code) if hasattr(error, "code") else str(error.strerror or error)
