import sys

import pytest

from tests.support.packages import HOURS, Packages, plugin
from trioedge.plugins import Kind, Plugin, find, installed, load


def stages(packages: tuple[str, ...]) -> list[tuple[str, str]]:
    """Give the names of the stages in some packages, and the packages; this machine may have others."""
    return [(each.name, str(each)) for each in installed(Kind.STAGE) if each.package in packages]


def test_an_installed_plugin_is_listed_without_an_import_and_imported_by_its_name(packages: Packages) -> None:
    packages.add(
        "trioedge-hours", "1.2", entry_points=plugin("stages", "hours", "trioedge_hours:Hours"), trioedge_hours=HOURS
    )
    listed = Plugin(Kind.STAGE, "hours", "trioedge_hours:Hours", "trioedge-hours", "1.2")
    assert listed in installed()
    assert listed in installed(Kind.STAGE)
    assert listed not in installed(Kind.ENDPOINT)
    assert "trioedge_hours" not in sys.modules
    found = find(Kind.STAGE, "hours")
    assert found is sys.modules["trioedge_hours"].Hours
    assert load(listed) is found


def test_metadata_in_disorder_breaks_no_other_plugin(packages: Packages) -> None:
    text = "stray\n[trioedge.stages]\n# hours = x:Y\n\nbare\nhours = trioedge_hours:Hours\n[other]\nstray = a:b\n"
    packages.add("trioedge-hours", entry_points=text, trioedge_hours=HOURS)
    packages.add("no-name", metadata="Metadata-Version: 2.1\n", entry_points=plugin("stages", "nameless", "a:b"))
    packages.add("odd", metadata="Name: odd\nVersion: a b\n", entry_points=plugin("stages", "odd", "a:b"))
    (packages.folder / "broken-1.dist-info").mkdir()
    (packages.folder / "broken-1.dist-info/entry_points.txt").write_bytes(b"[trioedge.stages]\n\xff = a:b\n")
    (packages.folder / "empty-1.dist-info").mkdir()
    assert stages(("trioedge-hours", "unknown", "odd")) == [
        ("bare", "trioedge-hours 0.1.0"),
        ("hours", "trioedge-hours 0.1.0"),
        ("nameless", "unknown unknown"),
        ("odd", "odd a b"),
    ]
    assert find(Kind.STAGE, "hours").__name__ == "Hours"


def test_of_a_package_that_is_installed_twice_the_first_on_the_path_counts(
    packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.add("trioedge-hours", "2", entry_points=plugin("stages", "hours", "new:Hours"), new=HOURS)
    older = Packages(packages.folder.parent / "older")
    older.folder.mkdir()
    older.add("Trioedge.Hours", "1", entry_points=plugin("stages", "hours", "old:Hours"), old=HOURS)
    monkeypatch.setattr(sys, "path", [*sys.path, str(older.folder)])
    assert stages(("trioedge-hours", "Trioedge.Hours")) == [("hours", "trioedge-hours 2")]
    assert find(Kind.STAGE, "hours").__module__ == "new"
