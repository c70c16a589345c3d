"""Snapshots that are read and applied to services: what they take away, and what is known of them afterwards."""

import json

import pytest
import trio

from tests.support.policies import HASHES
from tests.support.services import Governed
from trioedge.control.snapshot_lines import KnownLines, SnapshotReader
from trioedge.services.control_plane import SnapshotError
from trioedge.services.policy import Policy, Settings
from trioedge.services.snapshot import Plan

FULL: dict[str, object] = {"version": "7", "full": True}
SHOP: dict[str, object] = {"name": "shop", "session_rate": 1}
CAFE: dict[str, object] = {"name": "cafe", "session_rate": 2}
BANK: dict[str, object] = {"name": "bank"}
FAULTY: dict[str, object] = {"name": "new", "session_rate": 0}
FAULT = "services.new.session_rate = 0 must be a number above 0"


def disabled(line: dict[str, object]) -> dict[str, object]:
    return {**line, "enabled": False}


class Edge(Governed):
    """Services to which lines are applied; it has shop, cafe and bank."""

    def __init__(self) -> None:
        super().__init__()
        self.known = KnownLines()

    async def read(self, *lines: dict[str, object], end: bool = True, head: dict[str, object] = FULL) -> None:
        ending = [{"end": len(lines)}] if end else []
        data = b"".join(json.dumps(line).encode() + b"\n" for line in [head, *lines, *ending])
        async with SnapshotReader(self.known) as reader:
            for _ in reader.read(data):
                await trio.lowlevel.checkpoint()
            await reader.apply(self.link)

    def rates(self) -> dict[str, tuple[bool, float | None]]:
        """Return whether each service is enabled, and its session rate."""
        return {name: (each.policy.enabled, each.policy.session_rate) for name, each in self.settings().items()}


@pytest.fixture
async def edge() -> Edge:
    edge = Edge()
    await edge.read(SHOP, CAFE, BANK)
    return edge


@pytest.mark.parametrize("faulty", [FAULTY, {"name": "new", "accept": ["nowhere"]}], ids=["read", "compiled"])
async def test_lines_that_take_away_are_applied_beside_a_line_with_a_fault(
    edge: Edge, faulty: dict[str, object]
) -> None:
    with pytest.raises(SnapshotError) as refusal:
        await edge.read(disabled(SHOP), faulty, {"name": "cafe", "session_rate": 9})
    assert refusal.value.applied == Plan(changed={"shop": ("enabled",)}, removed=("bank",))
    assert edge.rates() == {"shop": (False, 1), "cafe": (True, 2)}


async def test_a_service_whose_own_line_has_a_fault_is_named_and_keeps_everything(edge: Edge) -> None:
    hashed = {**SHOP, "password_hash": HASHES[1]}
    await edge.read(hashed, CAFE, BANK)
    before = edge.settings()
    with pytest.raises(SnapshotError) as refusal:
        await edge.read({**SHOP, "enabled": False, "session_burst": 0}, CAFE, BANK)
    assert not refusal.value.applied
    assert edge.settings() == before


async def test_the_line_of_before_opens_again_what_a_refused_snapshot_took_away(edge: Edge) -> None:
    with pytest.raises(SnapshotError):
        await edge.read(disabled(SHOP), FAULTY, CAFE)
    await edge.read(SHOP, CAFE, BANK)
    assert edge.rates() == {"shop": (True, 1), "cafe": (True, 2), "bank": (True, None)}


async def test_a_service_that_a_refused_snapshot_disabled_is_removed_when_it_is_left_out(edge: Edge) -> None:
    with pytest.raises(SnapshotError):
        await edge.read(disabled(SHOP), CAFE, BANK, FAULTY)
    await edge.read(CAFE, BANK)
    assert edge.settings().keys() == {"cafe", "bank"}


@pytest.mark.parametrize(
    "lines",
    [
        [disabled(SHOP), {"fault": "the database is away"}, FAULTY],
        [disabled(SHOP), {"nme": "cafe"}, FAULTY],
        [disabled(SHOP), SHOP, FAULTY],
    ],
    ids=["withdrawn", "not readable", "named twice"],
)
async def test_a_snapshot_that_may_not_be_there_whole_takes_nothing_away(
    edge: Edge, lines: list[dict[str, object]]
) -> None:
    before = edge.settings()
    with pytest.raises(SnapshotError) as refusal:
        await edge.read(*lines)
    assert not refusal.value.applied
    assert edge.settings() == before


async def test_a_snapshot_that_is_cut_short_takes_nothing_away(edge: Edge) -> None:
    with pytest.raises(SnapshotError, match="cut short"):
        await edge.read(disabled(SHOP), FAULTY, end=False)
    assert edge.rates() == {"shop": (True, 1), "cafe": (True, 2), "bank": (True, None)}


async def test_a_first_snapshot_with_a_fault_removes_no_service_of_a_former_run(edge: Edge) -> None:
    edge.known = KnownLines()
    with pytest.raises(SnapshotError) as refusal:
        await edge.read(disabled(SHOP), FAULTY)
    assert refusal.value.applied == Plan(changed={"shop": ("enabled",)})
    assert refusal.value.faults == (FAULT,)


@pytest.mark.parametrize("first", [True, False])
async def test_lines_that_leave_out_all_services_must_say_that_they_may(edge: Edge, first: bool) -> None:
    if first:
        edge.known = KnownLines()
    for head in (FULL, {**FULL, "allow_removal": False}):
        with pytest.raises(SnapshotError, match=r"it would remove 3 of 3 services: .* write allow_removal = true"):
            await edge.read(head=head)
    with pytest.raises(SnapshotError, match=r"allow_removal = 'yes' must be true or false"):
        await edge.read(head={**FULL, "allow_removal": "yes"})
    assert len(edge.settings()) == 3
    await edge.read(head={**FULL, "allow_removal": True})
    assert edge.settings() == {}


async def test_changes_may_remove_every_service_because_they_name_it(edge: Edge) -> None:
    lines: list[dict[str, object]] = [{"removed": name} for name in ("shop", "cafe", "bank")]
    await edge.read(*lines, head={"version": "8", "full": False})
    assert edge.settings() == {}


async def test_all_faults_are_reported_together_those_of_entries_last(edge: Edge) -> None:
    with pytest.raises(SnapshotError) as refusal:
        await edge.read({**SHOP, "accept": ["nowhere"]}, FAULTY, CAFE, BANK)
    assert [fault.partition(" ")[0] for fault in refusal.value.faults] == [
        "services.new.session_rate",
        "services.shop.accept[0]",
    ]
    assert edge.settings()["shop"] == Settings(Policy(session_rate=1))
