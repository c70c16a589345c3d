import pytest

import trioedge as te
from trioedge.errors import EdgeError
from trioedge.services.control_plane import (
    MAX_DETAIL_LETTERS,
    ChecksDevices,
    ControlPlane,
    DeviceVerdict,
    FollowsDevices,
    SnapshotError,
    TakesReports,
    read_verdict,
)
from trioedge.services.report import Report


class Speaks:
    async def run(self, link: te.Link, /, *, task_status: object) -> None: ...


class Checks(Speaks):
    async def check_device(self, service: str, device: str, /) -> DeviceVerdict:
        return DeviceVerdict(True)


class Counts(Speaks):
    async def report(self, report: Report, /) -> None: ...


@pytest.mark.parametrize(
    ("control", "checks", "counts"),
    [
        (Speaks(), False, False),
        (Checks(), True, False),
        (Counts(), False, True),
        (te.FileControl("services.toml"), False, False),
        (te.MemoryControl(), True, True),
        (te.HttpControl("http://127.0.0.1:1"), True, True),
    ],
    ids=["speaks", "checks", "counts", "file", "memory", "http"],
)
def test_a_control_plane_is_known_by_its_methods(control: object, checks: bool, counts: bool) -> None:
    assert isinstance(control, ControlPlane)
    assert isinstance(control, ChecksDevices) is checks
    assert isinstance(control, TakesReports) is counts


def test_an_object_without_run_is_no_control_plane() -> None:
    assert not isinstance(object(), ControlPlane)


def test_the_error_of_a_refused_snapshot_has_every_fault() -> None:
    error = SnapshotError(("services.a.x = 1 is wrong", "services.b.y = 2 is too"))
    assert error.faults == ("services.a.x = 1 is wrong", "services.b.y = 2 is too")
    assert str(error) == "services.a.x = 1 is wrong; services.b.y = 2 is too"
    assert isinstance(error, EdgeError)
    assert not isinstance(error, te.ConfigurationError), "because a serving edge goes on"


def test_a_verdict_is_fresh_for_a_minute_by_default() -> None:
    assert DeviceVerdict(True) == DeviceVerdict(accept=True, seconds=60.0, detail="")


def test_a_control_plane_with_came_and_went_follows_devices() -> None:
    class Follows(Speaks):
        def came(self, service: str, device: str, /) -> None: ...

        def went(self, service: str, device: str, /) -> None: ...

    assert isinstance(Follows(), FollowsDevices)
    assert not isinstance(Speaks(), FollowsDevices)
    assert not isinstance(te.MemoryControl(), FollowsDevices)


@pytest.mark.parametrize("value", [None, True, DeviceVerdict(True, -1), DeviceVerdict(True, float("nan"))])
def test_a_value_that_is_no_verdict_is_read_as_none(value: object) -> None:
    assert read_verdict(value) is None


def test_a_verdict_is_read_with_plain_fields() -> None:
    read = read_verdict(DeviceVerdict(1, 5, "x" * 1_000))  # type: ignore[arg-type]
    assert read == DeviceVerdict(True, 5.0, "x" * MAX_DETAIL_LETTERS)
    assert type(read.accept) is bool
