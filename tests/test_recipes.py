"""Each recipe of the guide does what the page says: its block is run, and its edge rehearsed."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import trioedge as te
from trioedge.testing import open_edge

PAGE = (Path(__file__).parents[1] / "docs/how-to/recipes.md").read_text()
SECTIONS = {section.partition("\n")[0]: section for section in PAGE.split("\n## ")[1:]}


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run in an empty folder, and take back the signal handler that a recipe sets."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGUSR1)
    yield tmp_path
    signal.signal(signal.SIGUSR1, before)


def run(title: str, *changes: tuple[str, str]) -> dict[str, Any]:
    """Write the services file of a recipe, run its program, and give its names."""
    section = next(text for text in SECTIONS.values() if f'title="{title}"' in text)
    services = re.search(r'^```toml title="services.toml"\n(.*?)^```$', section, re.MULTILINE | re.DOTALL)
    program = re.search(rf'^```python title="{title}"\n(.*?)^```$', section, re.MULTILINE | re.DOTALL)
    assert program is not None
    texts = [services[1] if services else "", program[1]]
    for old, new in changes:
        assert any(old in text for text in texts), old
        texts = [text.replace(old, new) for text in texts]
    Path("services.toml").write_text(texts[0])
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(texts[1], title, "exec"), names)
    return names


def edge_of(title: str, *changes: tuple[str, str]) -> te.Edge:
    edge = run(title, *changes)["edge"]
    assert isinstance(edge, te.Edge)
    return edge


@pytest.mark.usefixtures("in_folder")
async def test_redis_accepts_three_networks_and_twenty_sessions_of_a_source() -> None:
    async with open_edge(edge_of("redis.py")) as world:
        assert (await (await world.connect("203.0.113.1")).ended()).reason is te.Reason.SOURCE
        for _ in range(20):
            assert (await world.connect("10.0.0.1")).outcome is None
        assert (await (await world.connect("10.0.0.1")).ended()).reason is te.Reason.CONCURRENCY


@pytest.mark.usefixtures("in_folder")
async def test_a_tenant_is_limited_by_its_policy() -> None:
    async with open_edge(edge_of("tenants.py", ("max_sessions = 1000", "max_sessions = 2"))) as world:
        for _ in range(2):
            assert (await world.connect()).outcome is None
        assert (await (await world.connect()).ended()).reason is te.Reason.CONCURRENCY
        assert len(list(world.edge.sessions.matching(service="shop"))) == 2


@pytest.mark.usefixtures("in_folder")
async def test_a_customer_has_the_rate_of_its_service() -> None:
    async with open_edge(edge_of("bandwidth.py")) as world:
        premium, basic = await world.connect("127.0.0.2"), await world.connect("127.0.0.3")
        await trio.testing.wait_all_tasks_blocked()
        assert (premium.session.down_rate, basic.session.down_rate) == (20e6, 1e6)
        assert list(world.edge.sessions.matching(service="premium")) == [premium.session]


@pytest.mark.usefixtures("in_folder")
async def test_a_fourth_device_takes_the_place_of_the_first(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("devices.py")) as world:
        first = await world.connect("192.0.2.1")
        for number in (2, 3, 4):
            assert (await world.connect(f"192.0.2.{number}")).outcome is None
        assert (await first.ended()).reason is te.Reason.DEVICE


@pytest.mark.usefixtures("in_folder")
async def test_a_stolen_device_is_cut_and_then_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("devices.py")) as world:
        assert (await (await world.connect("127.0.0.66")).ended()).reason is te.Reason.DEVICE
        assert (await world.connect("127.0.0.66")).outcome == te.Reject(te.Reason.DEVICE, "reported stolen")


@pytest.mark.parametrize(
    ("source", "accepted"),
    [("127.0.0.1", True), ("127.0.0.2", False), ("10.66.0.1", False), ("10.67.0.1", True), ("203.0.113.1", False)],
)
@pytest.mark.usefixtures("in_folder")
async def test_a_source_is_accepted_or_rejected_by_its_longest_prefix(source: str, accepted: bool) -> None:
    async with open_edge(edge_of("sources.py")) as world:
        assert ((await world.connect(source)).outcome is None) is accepted


@pytest.mark.parametrize(("enabled", "reason"), [("true", None), ("false", te.Reason.SERVICE)])
@pytest.mark.usefixtures("in_folder")
async def test_a_disabled_service_refuses_its_sessions(enabled: str, reason: te.Reason | None) -> None:
    async with open_edge(edge_of("switch.py", ("enabled = true", f"enabled = {enabled}"))) as world:
        outcome = (await world.connect()).outcome
        assert (outcome and outcome.reason) == reason


@pytest.mark.usefixtures("in_folder")
async def test_the_switch_refuses_new_sessions_and_keeps_live_ones() -> None:
    async with open_edge(edge_of("maintenance.py")) as world:
        live = await world.connect()
        signal.raise_signal(signal.SIGUSR1)
        assert (await world.connect()).outcome == te.Reject(te.Reason.POLICY, "closed for maintenance")
        assert live.outcome is None
        signal.raise_signal(signal.SIGUSR1)
        assert (await world.connect()).outcome is None


@pytest.mark.usefixtures("in_folder")
async def test_a_listener_leads_to_the_upstream_of_its_service() -> None:
    async with open_edge(edge_of("servers.py")) as world:
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        assert [str(address) for address in world.upstream.asked] == ["tcp://127.0.0.1:9000"]


@pytest.mark.usefixtures("in_folder")
async def test_the_cap_refuses_one_session_more() -> None:
    async with open_edge(edge_of("cap.py", ("1_000", "3"))) as world:
        for _ in range(3):
            assert (await world.connect()).outcome is None
        assert (await (await world.connect()).ended()).reason is te.Reason.OVERLOAD


@pytest.mark.usefixtures("in_folder")
async def test_an_idle_session_is_cut_after_half_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("idle.py")) as world:
        assert (await (await world.connect()).ended()).reason is te.Reason.IDLE
        assert 30 <= trio.current_time() <= 30.1


@pytest.mark.usefixtures("in_folder")
async def test_the_access_log_has_served_and_refused_sessions() -> None:
    async with open_edge(edge_of("access_log.py")) as world:
        client = await world.connect("192.0.2.1")
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        await client.finish()
        await client.ended()
        await world.connect("127.0.0.2")
    first, second = (await trio.Path("access.log").read_text()).splitlines()
    assert all(f" {field} " in first for field in ("source=192.0.2.1", "reason=finished", "bytes_up=4"))
    assert all(f" {field} " in second for field in ("source=127.0.0.2", "reason=source", "stage=SourceMatch"))


def test_every_recipe_is_in_the_table_of_the_page() -> None:
    table = re.findall(r"^\| .*\| \[([^\]]+)\]\(#[\w-]+\) \|$", PAGE, re.MULTILINE)
    assert table == list(SECTIONS)
