"""Good control planes pass their check, and a bad one is named with its fault."""

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trioedge as te
from trioedge.services.stage_keys import StageKeys
from trioedge.testing import check_control

SHOP = {"shop": te.Settings(te.Policy(device_limit=2))}


class Good:
    """Applies one snapshot and waits; has every method that a control plane may have."""

    first = te.Snapshot(SHOP)

    def __init__(self) -> None:
        self.told: list[str] = []

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        await link.apply(self.first)
        link.reached()
        task_status.started()
        await trio.sleep_forever()

    async def check_device(self, service: str, device: str, /) -> te.DeviceVerdict:
        self.told.append(f"check {service} {device}")
        return te.DeviceVerdict(True)

    async def report(self, report: te.Report, /) -> None:
        self.told.append(f"report {report.sequence}")

    def reload(self) -> None:
        self.told.append("reload")

    def came(self, service: str, device: str, /) -> None:
        self.told.append(f"came {service} {device}")

    def went(self, service: str, device: str, /) -> None:
        self.told.append(f"went {service} {device}")


async def test_a_good_control_plane_passes_and_each_of_its_methods_was_called(autojump_clock: MockClock) -> None:
    control = Good()
    await check_control(control, device="phone")
    assert control.told == [
        "check shop phone", "report 1", "report 1", "report 2", "came shop phone", "went shop phone", "reload",
        "came shop phone", "went shop phone",
    ]  # fmt: skip


async def test_a_control_plane_in_memory_passes(autojump_clock: MockClock) -> None:
    await check_control(te.MemoryControl({"shop": te.Policy(), "cafe": te.Policy(down_rate=1e6)}))


async def test_a_control_plane_of_a_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "services.toml"
    path.write_text("[services.shop]\ndown_rate = 1000000\n")
    await check_control(te.FileControl(path))


async def test_only_run_is_needed(autojump_clock: MockClock) -> None:
    class Least:
        run = Good.run
        first = Good.first

    await check_control(Least())


async def test_keys_of_stages_are_known_if_the_check_is_given_them(autojump_clock: MockClock) -> None:
    import attrs

    @attrs.frozen
    class Hours:
        since: int = 0

    class Keyed(Good):
        first = te.Snapshot({"shop": te.Settings(te.Policy(stages=(Hours(8),)))})

    await check_control(Keyed(), stage_keys=StageKeys([Hours]))
    with pytest.raises(AssertionError, match=r"^Keyed.* a snapshot with faults: services\.shop"):
        await check_control(Keyed())


# Each of these breaks one promise.


class NoSnapshot(Good):
    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        link.failed("the source is down")
        await trio.sleep_forever()


class StartsTooEarly(Good):
    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await super().run(link, task_status=trio.TASK_STATUS_IGNORED)


class FaultySnapshot(Good):
    first = te.Snapshot({"shop": te.Settings(te.Policy(down_rate=-1))})


class AnotherSnapshot(Good):
    async def run(self, link: Any, /, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await link.apply({"shop": te.Policy()})
        except Exception:
            await link.apply(self.first)
        task_status.started()
        await trio.sleep_forever()


class Returns(Good):
    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        await link.apply(self.first)
        task_status.started()


class ReturnsAtOnce(Good):
    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None: ...


class Raises(Good):
    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        raise ZeroDivisionError


class MakesAFaultOfACancel(Good):
    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await link.apply(self.first)
        except trio.Cancelled:
            raise OSError("broke off") from None
        task_status.started()
        await trio.sleep_forever()


class EndsSlowly(Good):
    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await super().run(link, task_status=task_status)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)


class SpeaksAfterwards(Good):
    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        async def late() -> None:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            link.reached()

        try:
            await super().run(link, task_status=task_status)
        finally:
            trio.lowlevel.spawn_system_task(late)


class LeavesATask(Good):
    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        trio.lowlevel.spawn_system_task(trio.sleep, 5)
        await super().run(link, task_status=task_status)


class PlainCheck(Good):
    def check_device(self, service: str, device: str, /) -> te.DeviceVerdict:  # type: ignore[override]
        return te.DeviceVerdict(True)


class NoVerdict(Good):
    async def check_device(self, service: str, device: str, /) -> Any:
        return True


class CheckRaises(Good):
    async def check_device(self, service: str, device: str, /) -> te.DeviceVerdict:
        raise OSError("no answer")


class OneArgument(Good):
    async def check_device(self, device: str, /) -> te.DeviceVerdict:  # type: ignore[override]
        return te.DeviceVerdict(True)


class RefusesARepeatedReport(Good):
    async def report(self, report: te.Report, /) -> None:
        assert f"report {report.sequence}" not in self.told
        await super().report(report)


class AsyncReload(Good):
    async def reload(self) -> None:  # type: ignore[override]
        ...


class AsyncCame(Good):
    async def came(self, service: str, device: str, /) -> None:  # type: ignore[override]
        ...


class NeverGoes(Good):
    went = None  # type: ignore[assignment]


class AsyncUsers(Good):
    async def service_of(self, user: str, /) -> str | None:
        return None


class WentRaises(Good):
    def went(self, service: str, device: str, /) -> None:
        raise KeyError(device)


@pytest.mark.parametrize(
    ("control", "fault"),
    [
        (NoSnapshot(), r"NoSnapshot had no snapshot within 10 s; it said: the source is down"),
        (StartsTooEarly(), r"StartsTooEarly called started\(\) before a snapshot"),
        (FaultySnapshot(), r"FaultySnapshot applied a snapshot with faults: services\.shop\.down_rate = -1"),
        (AnotherSnapshot(), r"AnotherSnapshot applied \{'shop': .*, which is no Snapshot"),
        (Returns(), r"Returns\.run returned before it was cancelled"),
        (ReturnsAtOnce(), r"ReturnsAtOnce\.run returned before it had a snapshot"),
        (Raises(), r"Raises\.run raised ZeroDivisionError\(\)"),
        (MakesAFaultOfACancel(), r"MakesAFaultOfACancel\.run made OSError\('broke off'\) of a cancel"),
        (EndsSlowly(), r"EndsSlowly\.run took 3\.0 s to end after a cancel"),
        (SpeaksAfterwards(), r"SpeaksAfterwards called link\.reached\(\) after its run had ended"),
        (LeavesATask(), r"LeavesATask left \d+ tasks behind"),
        (PlainCheck(), r"PlainCheck\.check_device must be async def"),
        (NoVerdict(), r"NoVerdict\.check_device must return a DeviceVerdict"),
        (CheckRaises(), r"CheckRaises\.check_device raised OSError\('no answer'\); let its source answer"),
        (OneArgument(), r"OneArgument\.check_device must take 2 arguments"),
        (RefusesARepeatedReport(), r"RefusesARepeatedReport\.report raised AssertionError"),
        (AsyncReload(), r"AsyncReload\.reload must be a plain def, because it cannot wait"),
        (AsyncCame(), r"AsyncCame\.came must be a plain def, because it cannot wait"),
        (NeverGoes(), r"NeverGoes needs both came and went, or none"),
        (AsyncUsers(), r"AsyncUsers\.service_of must be a plain def, because it cannot wait"),
        (WentRaises(), r"WentRaises\.went raised KeyError\('192\.0\.2\.1'\)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Good) else "",
)
async def test_a_broken_promise_is_named(control: Any, fault: str, autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match=f"^{fault}"):
        await check_control(control)


async def test_a_value_that_is_no_control_plane_is_refused() -> None:
    with pytest.raises(te.ConfigurationError, match=r"is no control plane: it needs async run\(link\)"):
        await check_control(5)  # type: ignore[arg-type]
    with pytest.raises(te.ConfigurationError, match="is no control plane"):
        await check_control(None)  # type: ignore[arg-type]
