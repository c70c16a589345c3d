"""The tutorial of plugins shows what `trioedge new plugin` writes, and its change works; the index has all plugins."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.packages import Packages, plugin
from trioedge.cli.new.plugin import files
from trioedge.plugins import load
from trioedge.testing.plugin_checks import check_part, check_words, plugin_named

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs/tutorial/publish-a-plugin.md").read_text()
PART, CHANGED, _TEST = re.findall(r"^```python\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
SAID = re.findall(r"^(?:failed|ok) +stage open-hours: (.*)$", TUTORIAL, re.MULTILINE)


def test_the_tutorial_shows_the_skeleton() -> None:
    written = files("open-hours", "decision")
    assert written["trioedge_open_hours/__init__.py"] == PART
    assert {path for path in written if f"`{path}`" not in TUTORIAL} == {"trioedge_open_hours/py.typed"}


def test_the_check_finds_what_the_tutorial_says(packages: Packages) -> None:
    words = CHANGED.replace(
        "1 to 24.\n", "1 to 24.\n            weekends: whether it opens on Saturdays and Sundays.\n"
    )
    checked = words.replace(
        "        if since", '        te.check_flag("OpenHours", "weekends", weekends)\n        if since'
    )
    for number, (text, says) in enumerate(zip((CHANGED, words, checked), SAID, strict=True)):
        module = f"open_hours_{number}"
        entry = plugin("stages", f"hours-{number}", f"{module}:OpenHours")
        packages.add(
            f"open-hours-{number}", entry_points=entry, **{module: f"import time\nimport trioedge as te\n{text}"}
        )
        assert fault_of(f"hours-{number}") == says.partition(": ")[2]


def fault_of(name: str) -> str:
    """Check a plugin, and give the promise that it breaks without the name of its package; none is empty."""
    found = plugin_named(name, None)
    maker = load(found)
    try:
        check_words(found, maker)
        check_part(found, maker, {}, {})
    except AssertionError as error:
        return str(error).partition(": ")[2]
    return ""


def test_the_index_of_plugins_has_each_of_them_with_its_names() -> None:
    listed = dict(
        re.findall(
            r"^\| \[`([\w-]+)`\]\([\w-]+\) \| `([\w-]+)`", (ROOT / "plugins/README.md").read_text(), re.MULTILINE
        )
    )
    there = {}
    for path in sorted((ROOT / "plugins").glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        there[project["name"]] = next(iter(next(iter(project["entry-points"].values()))))
    assert listed == there


@pytest.mark.parametrize(
    "place", sorted((ROOT / "plugins").glob("*/pyproject.toml")), ids=lambda path: path.parent.name
)
def test_a_plugin_here_has_a_page_and_a_package_like_the_others(place: Path) -> None:
    project = tomllib.loads(place.read_text())["project"]
    assert project["name"] == f"trioedge-{place.parent.name}"
    assert "trioedge-plugin" in project["keywords"]
    assert "trioedge" in project["keywords"]
    assert "test" in project["optional-dependencies"]  # which `make test` installs
    page = (ROOT / f"docs/plugins/{place.parent.name}.md").read_text()
    (group,) = project["entry-points"]
    ((name, _),) = project["entry-points"][group].items()
    kind = group.removeprefix("trioedge.").removesuffix("s")
    assert page.startswith(f"# {project['name']}\n")
    assert [each for each in HEADINGS if f"\n## {each}\n" not in page] == []
    assert f"\n<!-- keys: {kind} {name} -->\n" in page


HEADINGS = ("Install", "In Python", "In an edge.toml", "Keys", "Limits")
"""Of the page of each plugin, beside its own."""
