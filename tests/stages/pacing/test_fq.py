import errno
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
import pyroute2  # type: ignore[import-untyped]
import pytest
from pyroute2.netlink.rtnl.tcmsg import plugins  # type: ignore[import-untyped]

from tests.support.network_namespace import in_a_new_network
from trioedge.stages.pacing import fq as qdisc
from trioedge.stages.pacing.fq import Interface, State, pacing_support, survey

UP, LOOPBACK, ROOT = 0x1, 0x8, 0xFFFFFFFF


@attrs.define
class Queue:
    """A qdisc of the fake kernel."""

    kind: str
    handle: int = 0
    parent: int = ROOT


class Message(dict[str, Any]):
    def get_attr(self, name: str) -> Any:
        return self[name]


class Machine:
    """A kernel behind netlink, as far as a survey uses it: it lists interfaces, and adds and deletes qdiscs.

    Attributes:
        knows: kinds that it has modules for.
        refuses: the errno with which it refuses any change; 0 for none.
    """

    def __init__(self, **interfaces: tuple[int, list[Queue]]) -> None:
        self.names = dict(enumerate(interfaces, 1))
        self.flags = {index: interfaces[name][0] for index, name in self.names.items()}
        self.queues = {index: list(interfaces[name][1]) for index, name in self.names.items()}
        self.knows = {"mq", "fq"}
        self.refuses = 0
        self.changes: list[str] = []

    def __call__(self) -> "Machine":
        return self

    def __enter__(self) -> "Machine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def get_links(self) -> list[Message]:
        return [Message(index=each, flags=self.flags[each], IFLA_IFNAME=self.names[each]) for each in self.names]

    def get_qdiscs(self) -> list[Message]:
        return [
            Message(index=index, parent=each.parent, handle=each.handle, TCA_KIND=each.kind)
            for index, queues in self.queues.items()
            for each in queues
        ]

    def tc(self, command: str, kind: str = "", index: int = 0, handle: int = 0, parent: int = ROOT) -> None:
        self.changes.append(f"{command} {kind or 'root'}")
        if self.refuses:
            raise pyroute2.NetlinkError(self.refuses)
        queues = self.queues[index]
        if command == "del":
            self.queues[index] = [Queue("mq"), *(Queue("pfifo_fast", 0, number) for number in range(1, len(queues)))]
            return
        if kind not in self.knows:
            raise pyroute2.NetlinkError(errno.ENOENT)
        old = next(each for each in queues if each.parent == parent)
        if old.handle:
            raise pyroute2.NetlinkError(errno.EEXIST)
        old.kind, old.handle = kind, 0x8001_0000 + (parent & 0xFF << 16)
        for number, each in enumerate(queues[1:] if kind == "mq" else [], 1):
            each.parent = old.handle | number

    def surveyed(self, monkeypatch: pytest.MonkeyPatch, *, fix: bool = False) -> dict[str, Interface]:
        monkeypatch.setattr(pyroute2, "IPRoute", self)
        return {each.name: each for each in survey(fix=fix)}


def default_mq() -> list[Queue]:
    return [Queue("mq"), Queue("pfifo_fast", 0, 1), Queue("fq_codel", 0, 2)]


def kinds(machine: Machine, index: int = 1) -> list[str]:
    return [each.kind for each in machine.queues[index]]


@pytest.mark.parametrize(
    ("flags", "queues", "state", "kind"),
    [
        (UP, [Queue("pfifo_fast")], "missing", "pfifo_fast"),
        (UP, [Queue("noqueue")], "missing", "noqueue"),
        (UP, [Queue("fq_codel")], "missing", "fq_codel"),
        (UP, [], "missing", "noop"),
        (UP, [Queue("clsact", 0xFFFF0000, 0xFFFFFFF1), Queue("pfifo_fast")], "missing", "pfifo_fast"),
        (UP, default_mq(), "missing", "mq"),
        (UP, [Queue("mq"), Queue("clsact", 0xFFFF0000, 0xFFFFFFF1), Queue("pfifo", 0, 1)], "missing", "mq"),
        (UP, [Queue("fq")], "ready", "fq"),
        (UP, [Queue("fq", 0x10000)], "ready", "fq"),
        (UP, [Queue("mq"), Queue("fq", 0, 1), Queue("fq", 0, 2)], "ready", "mq"),
        (UP, [Queue("mq", 0x10000), Queue("fq", 0x20000, 0x10001)], "ready", "mq"),
        (UP, [Queue("mq", 0x10000), Queue("fq", 0x20000, 0x10001), Queue("pfifo", 0, 0x10002)], "left alone", "mq"),
        (UP, [Queue("mq"), Queue("fq", 0, 1), Queue("pfifo", 0, 2)], "left alone", "mq"),
        (UP, [Queue("mq"), Queue("cake", 0, 1)], "left alone", "mq"),
        (UP, [Queue("htb", 0x10000), Queue("fq", 0x20000, 0x10001)], "left alone", "htb"),
        (UP, [Queue("pfifo_fast", 0x10000)], "left alone", "pfifo_fast"),
        (UP, [Queue("cake")], "left alone", "cake"),
        (UP | LOOPBACK, [Queue("noqueue")], "loopback", "noqueue"),
        (LOOPBACK, [], "loopback", "noop"),
        (0, [Queue("fq")], "down", "fq"),
        (0, [Queue("htb", 0x10000)], "down", "htb"),
        (0, [], "down", "noop"),
    ],
)
def test_an_interface_has_the_state_of_its_queues_and_only_a_missing_fq_is_changed(
    flags: int, queues: list[Queue], state: State, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(eth0=(flags, queues))
    found = machine.surveyed(monkeypatch)["eth0"]
    assert (found.state, found.qdisc) == (state, kind)
    assert found.eligible == (state not in ("loopback", "down"))
    assert machine.surveyed(monkeypatch)["eth0"].detail == found.detail != ""
    assert machine.changes == []
    if state != "missing":
        assert machine.surveyed(monkeypatch, fix=True)["eth0"] == found
        assert machine.changes == []


def test_fix_replaces_the_default_queue_of_an_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(lo=(UP | LOOPBACK, []), eth0=(UP, [Queue("pfifo_fast")]), veth0=(UP, [Queue("noqueue")]))
    found = machine.surveyed(monkeypatch, fix=True)
    assert [(each.state, each.qdisc) for each in found.values()] == [
        ("loopback", "noop"), ("installed", "fq"), ("installed", "fq"),
    ]  # fmt: skip
    assert (kinds(machine, 2), kinds(machine, 3)) == (["fq"], ["fq"])
    again = machine.surveyed(monkeypatch, fix=True)
    assert [again["eth0"].state, again["veth0"].state] == ["ready", "ready"]


def test_fix_installs_fq_on_each_of_several_hardware_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(eth0=(UP, default_mq()))
    found = machine.surveyed(monkeypatch, fix=True)["eth0"]
    assert (found.state, found.qdisc) == ("installed", "mq")
    assert kinds(machine) == ["mq", "fq", "fq"]
    assert machine.changes == ["add mq", "add fq", "add fq"]
    assert machine.surveyed(monkeypatch)["eth0"].state == "ready"


@pytest.mark.parametrize(
    ("refusal", "state", "kind", "text"),
    [
        (errno.EPERM, "needs CAP_NET_ADMIN", "pfifo_fast", "CAP_NET_ADMIN"),
        (errno.EACCES, "needs CAP_NET_ADMIN", "pfifo_fast", "CAP_NET_ADMIN"),
        (errno.ENOENT, "kernel lacks it", "pfifo_fast", "sch_fq"),
        (errno.EOPNOTSUPP, "kernel lacks it", "pfifo_fast", "sch_fq"),
        (errno.EEXIST, "left alone", "", "a queue was set here on purpose"),
        (errno.ENODEV, "failed", "pfifo_fast", "No such device"),
    ],
)
def test_an_error_of_the_kernel_is_the_state_of_the_interface_and_is_not_raised(
    refusal: int, state: State, kind: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(eth0=(UP, [Queue("pfifo_fast")]), eth1=(UP, [Queue("fq")]))
    machine.refuses = refusal
    found = machine.surveyed(monkeypatch, fix=True)
    assert (found["eth0"].state, found["eth0"].qdisc) == (state, kind)
    assert text in found["eth0"].detail
    assert found["eth1"].state == "ready"


def test_several_queues_get_their_default_back_if_one_of_them_cannot_have_fq(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(eth0=(UP, default_mq()))
    machine.knows = {"mq"}
    assert machine.surveyed(monkeypatch, fix=True)["eth0"].state == "kernel lacks it"
    assert machine.changes == ["add mq", "add fq", "del root"]
    assert machine.surveyed(monkeypatch)["eth0"].state == "missing"


@pytest.fixture
def _sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdisc, "SYSFS", tmp_path)
    for name, flags in {"lo": "0x9\n", "eth0": "0x11043\n", "eth1": "0x1002\n", "gone": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "flags").write_text(flags)
    (tmp_path / "bonding_masters").write_text("")  # a file among folders, where there are bonds


@pytest.mark.usefixtures("_sysfs")
@pytest.mark.parametrize("fix", [False, True])
def test_without_pyroute2_the_interfaces_are_listed_from_sys(fix: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroute2", None)
    interfaces = survey(fix=fix)
    assert next(each.detail for each in interfaces if each.name == "eth0").startswith("pip install '.[fq]'")
    found = {each.name: (each.eligible, each.qdisc, each.state) for each in interfaces}
    assert found == {"eth0": (True, "", "needs pyroute2"), "eth1": (False, "", "down"), "lo": (False, "", "loopback")}


@pytest.mark.usefixtures("_sysfs")
@pytest.mark.parametrize(
    "fault", [OSError(errno.EAFNOSUPPORT, "Address family not supported"), pyroute2.NetlinkError(errno.EPERM)]
)
def test_without_netlink_the_interfaces_are_listed_from_sys(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Machine:
        raise fault

    monkeypatch.setattr(pyroute2, "IPRoute", refuse)
    eth0, eth1, lo = survey()
    assert (eth0.state, eth1.state, lo.state) == ("failed", "down", "loopback")
    assert eth0.detail in ("netlink: Address family not supported", "netlink: Operation not permitted")


def test_the_survey_of_this_machine_has_its_loopback() -> None:
    found = {each.name: each for each in survey()}
    assert found["lo"].state in ("loopback", "down")
    assert not found["lo"].eligible


def test_this_kernel_gives_the_state_of_new_interfaces() -> None:
    """One queue, three queues, and one that was set on purpose; `fq` is installed if the kernel has it."""

    def look() -> tuple[dict[str, Interface], dict[str, Interface], dict[str, Interface]]:
        with pyroute2.IPRoute() as ip:
            ip.link("add", ifname="one", kind="veth", peer={"ifname": "chosen"})
            ip.link("add", ifname="three", kind="ifb", num_tx_queues=3, num_rx_queues=3)
            for name in ("one", "three", "chosen"):
                ip.link("set", index=ip.link_lookup(ifname=name)[0], state="up")
            ip.tc("add", "pfifo", ip.link_lookup(ifname="chosen")[0])
        before, fixed, after = ({each.name: each for each in survey(fix=fix)} for fix in (False, True, False))
        return before, fixed, after

    before, fixed, after = in_a_new_network(look)
    assert [before[name].state for name in ("lo", "one", "three", "chosen")] == [
        "loopback", "missing", "missing", "left alone",
    ]  # fmt: skip
    assert (before["one"].qdisc, before["three"].qdisc) == ("noqueue", "mq")
    assert fixed["one"].state == fixed["three"].state
    assert fixed["chosen"] == after["chosen"] == before["chosen"]
    if fixed["one"].state == "kernel lacks it":
        assert after == before
    else:
        assert fixed["one"].state == "installed"
        assert (after["one"].state, after["three"].state) == ("ready", "ready")


def test_this_kernel_accepts_the_changes_of_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a kind that every kernel has, in the place of `fq`, which this one may lack; pyroute2 knows neither."""
    monkeypatch.setattr(qdisc, "FQ", "pfifo")
    monkeypatch.delitem(plugins, "pfifo")

    def look() -> list[tuple[str, str]]:
        with pyroute2.IPRoute() as ip:
            ip.link("add", ifname="one", kind="veth", peer={"ifname": "down"})
            ip.link("add", ifname="three", kind="ifb", num_tx_queues=3, num_rx_queues=3)
            for name in ("one", "three"):
                ip.link("set", index=ip.link_lookup(ifname=name)[0], state="up")
            assert {each.state for each in survey(fix=True) if each.eligible} == {"installed"}
            assert {each.state for each in survey(fix=True) if each.eligible} == {"ready"}
            names = {each["index"]: each.get_attr("IFLA_IFNAME") for each in ip.get_links()}
            return sorted((names[each["index"]], each.get_attr("TCA_KIND")) for each in ip.get_qdiscs())

    assert in_a_new_network(look) == [
        ("one", "pfifo"), ("three", "mq"), ("three", "pfifo"), ("three", "pfifo"), ("three", "pfifo"),
    ]  # fmt: skip


def test_the_kernel_paces_if_sockets_keep_a_rate_and_else_the_timeline(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pacing_support() == "kernel"  # Linux since 3.13

    def refuse(sock: object, rate: float) -> None:
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr(qdisc, "pace", refuse)
    assert pacing_support() == "timeline"
    monkeypatch.setattr(qdisc, "pace", lambda sock, rate: None)  # accepted and forgotten
    assert pacing_support() == "timeline"
