from pathlib import Path

import pytest

from tests.support.packages import Packages, plugin
from trioedge.cli import main
from trioedge.cli.doctor.capabilities import NAMES, STATUS, held, needed
from trioedge.cli.doctor.command import plugin_capabilities
from trioedge.cli.doctor.finding import Finding

OBSERVER = "class Nft:\n    async def observe(self, batch): ...\n"


@pytest.fixture(autouse=True)
def _edge() -> None:
    Path("edge.toml").write_text('[edge.a]\nobservers = [{ use = "nft" }]\n')


def install(packages: Packages, more: str) -> None:
    packages.add("trioedge-nft", entry_points=plugin("observers", "nft", "nft:Nft"), nft=f"{OBSERVER}    {more}\n")


def test_the_bits_are_those_of_the_kernel() -> None:
    assert (NAMES[0], NAMES[10], NAMES[12], NAMES[39]) == (
        "CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN", "CAP_BPF",
    )  # fmt: skip
    assert held("CapInh:\t1\nCapEff:\t0000000000001400\n") == {"CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN"}
    assert held("CapEff:\tffffffffffffffff\n") == set(NAMES)
    assert held("") == set()
    assert "CapEff:" in STATUS.read_text()


def test_a_capability_that_a_plugin_needs_is_named(packages: Packages) -> None:
    install(packages, 'needs_capabilities = ("CAP_NET_ADMIN", "CAP_BPF")')
    missing, here = plugin_capabilities("edge.toml", {"CAP_BPF"})
    assert here == Finding("ok", "plugin nft", "CAP_BPF is here")
    assert missing.mark == "note"
    assert missing.text == (
        "trioedge-nft 0.1.0 needs CAP_NET_ADMIN, and this process does not have it; in a unit of systemd: "
        "AmbientCapabilities=CAP_NET_ADMIN"
    )


def test_a_plugin_that_says_nothing_needs_none(packages: Packages) -> None:
    install(packages, "")
    assert list(needed("edge.toml")) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("needs_capabilities = 'CAP_NET_ADMIN'", "needs_capabilities = 'CAP_NET_ADMIN' must be names, as in ("),
        ("needs_capabilities = ['NET_ADMIN']", "needs_capabilities = ['NET_ADMIN'] must be names"),
        ("1 / 0", "trioedge-nft 0.1.0 cannot be imported: ZeroDivisionError"),
    ],
)
def test_the_mistake_of_a_plugin_is_a_note(more: str, says: str, packages: Packages) -> None:
    install(packages, more)
    (found,) = plugin_capabilities("edge.toml", NAMES)
    assert found.mark == "note"
    assert found.text.startswith(says)


def test_the_doctor_examines_the_plugins_of_a_file(packages: Packages, capsys: pytest.CaptureFixture[str]) -> None:
    install(packages, "needs_capabilities = ['CAP_NET_ADMIN']")
    assert main(["doctor", "edge.toml"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "plugin" in line]
    assert "CAP_NET_ADMIN" in line
    assert main(["doctor", "missing.toml"]) == 2
