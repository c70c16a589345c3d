"""Every mistake of a plugin is one line that names its package."""

import sys

import pytest

from tests.support.packages import HOURS, Packages, plugin
from trioedge.plugins import GROUPS, Kind, PluginError, find


def hours(packages: Packages, text: str = HOURS, value: str = "trioedge_hours:Hours", group: str = "stages") -> str:
    """Install the plugin `hours`, and give the fault of its name."""
    packages.add("trioedge-hours", entry_points=plugin(group, "hours", value), trioedge_hours=text)
    with pytest.raises(PluginError) as caught:
        find(next(kind for kind, each in GROUPS.items() if each == f"trioedge.{group}"), "hours")
    assert "\n" not in str(caught.value)
    return str(caught.value)


INSTALL = "which is not installed: pip install trioedge-hours installs what it needs"
NEWER = ": pip install -U trioedge"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import not_there.reader", f"it needs the module 'not_there', {INSTALL}"),
        (
            "try:\n    import not_there\nexcept ImportError as error:\n    raise RuntimeError('no') from error",
            f"it needs the module 'not_there', {INSTALL}",
        ),
        ("import trioedge_hours.inner", "its module 'trioedge_hours.inner' is missing: reinstall it"),
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero (trioedge_hours.py:2)"),
        (
            "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise OSError('no\\n luck') from error",
            "OSError: no luck, because of ZeroDivisionError: division by zero (trioedge_hours.py:4)",
        ),
        ("raise SystemExit(3)", "SystemExit: 3 (trioedge_hours.py:1)"),
        ("raise BaseException('no')", "BaseException: no (trioedge_hours.py:1)"),
        (
            "class Odd:\n    def __getattr__(self, name):\n        raise BaseException(name)\nHours = Odd()",
            "BaseException: plugin_api (trioedge_hours.py:3)",
        ),
        ("def f(:", "SyntaxError: invalid syntax (trioedge_hours.py:1)"),
        ("import json\njson.loads('x')", "line 1 column 1 (char 0) (trioedge_hours.py:2)"),
        ("from trioedge import Wanted", "ImportError: cannot import name 'Wanted' from 'trioedge'"),
        ("from trioedge import Wanted", NEWER),
        ("import trioedge as te\nte.Wanted", f"(AttributeError: module 'trioedge' has no attribute 'Wanted'){NEWER}"),
        ("import trioedge.wanted", f"(ModuleNotFoundError: No module named 'trioedge.wanted'){NEWER}"),
        ("def __getattr__(name):\n    raise ValueError(name)", "ValueError: plugin_api (trioedge_hours.py:2)"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_one_line(text: str, says: str, packages: Packages) -> None:
    said = hours(packages, text)
    assert said.startswith("trioedge-hours 0.1.0 cannot be imported: ")
    assert says in said


def test_an_entry_point_whose_module_is_not_there_is_one_line(packages: Packages) -> None:
    assert hours(packages, value="trioedge_hour.x:Hours") == (
        "trioedge-hours 0.1.0 cannot be imported: its entry point names the module 'trioedge_hour', which is not "
        "there: reinstall it"
    )


@pytest.mark.parametrize(("text", "hint"), [("class Hour: ...", "; did it mean 'Hour'?"), ("", "")])
def test_an_entry_point_whose_class_is_not_there_is_one_line(text: str, hint: str, packages: Packages) -> None:
    assert hours(packages, text) == (
        f"trioedge-hours 0.1.0: its entry point is 'trioedge_hours:Hours', and there is no 'Hours'{hint}"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Hours = 3", "trioedge_hours:Hours is of type int, no stage: a class of that kind has decide(session), "),
        ("class Hours: ...", "trioedge_hours:Hours is no stage: a class of that kind has decide(session), "),
        ("async def Hours(): ...", "trioedge_hours:Hours is async, and cannot make a stage: name a class, or a plain"),
        (HOURS + "Hours = Hours.decide(None, None)", "trioedge_hours:Hours is of type NoneType, no stage"),
        ("Hours = min", "trioedge_hours:Hours has no signature, of which the keys of a table are made: ValueError: "),
        (f"{HOURS}\nHours.__signature__ = 3", "has no signature, of which the keys of a table are made: TypeError: "),
    ],
)
def test_a_value_that_is_no_part_of_its_kind_is_one_line(text: str, says: str, packages: Packages) -> None:
    assert says in hours(packages, text)


@pytest.mark.parametrize(
    ("group", "methods"),
    [
        ("endpoints", "no endpoint: a class of that kind has handle(session) or open(context)"),
        ("outbounds", "no outbound: a class of that kind has connect(address) or open(context)"),
        ("controls", "no control plane: a class of that kind has run(link, *, task_status)"),
        ("observers", "no observer: a class of that kind has observe(batch) or open(context)"),
    ],
)
def test_a_decision_is_nothing_else(group: str, methods: str, packages: Packages) -> None:
    assert hours(packages, group=group) == f"trioedge-hours 0.1.0: trioedge_hours:Hours is {methods}"


@pytest.mark.parametrize(
    "text",
    [
        "def Hours(since=8): ...",
        "import trioedge\n@trioedge.decision\ndef Hours(session): return trioedge.CONTINUE",
        "class Hours:\n    def open(self, context): ...",
        "class Hours:\n    plugin_api = (1, 0)\n    def decide(self, session): ...",
        "plugin_api = [1, 0]\nclass Hours:\n    def decide(self, session): ...",
        "class Outer:\n    class Hours:\n        def decide(self, session): ...\nHours = Outer.Hours",
    ],
)
def test_a_function_an_object_and_a_class_are_found(text: str, packages: Packages) -> None:
    packages.add(
        "trioedge-hours", entry_points=plugin("stages", "hours", "trioedge_hours : Hours [extra]"), trioedge_hours=text
    )
    assert find(Kind.STAGE, "hours") is sys.modules["trioedge_hours"].Hours


@pytest.mark.parametrize(
    ("interface", "says"),
    [
        ("(2, 0)", " is for plugin interface 2.0, this is 1.0: pip install -U trioedge"),
        ("(1, 1)", " is for plugin interface 1.1, this is 1.0: pip install -U trioedge"),
        ("(0, 9)", " is for plugin interface 0.9, this is 1.0: pip install -U trioedge-hours"),
        ("'1.0'", ": plugin_api = '1.0' must be two whole numbers, as in (1, 0)"),
        ("(1,)", ": plugin_api = (1,) must be two whole numbers, as in (1, 0)"),
        ("(1, True)", ": plugin_api = (1, True) must be two whole numbers, as in (1, 0)"),
    ],
)
@pytest.mark.parametrize("place", ["class Hours:\n    plugin_api = {}", "plugin_api = {}\nclass Hour: ..."])
def test_a_plugin_for_another_interface_is_refused(place: str, interface: str, says: str, packages: Packages) -> None:
    assert hours(packages, place.format(interface)) == f"trioedge-hours 0.1.0{says}"


@pytest.mark.parametrize("value", ["", "trioedge_hours", "trioedge hours:Hours", ":Hours", "trioedge_hours:", "1x:Y"])
def test_a_malformed_entry_point_is_one_line_and_only_where_it_is_named(value: str, packages: Packages) -> None:
    packages.add("whole", entry_points=plugin("stages", "whole", "whole:Hours"), whole=HOURS)
    assert hours(packages, value=value) == (
        f"trioedge-hours 0.1.0: its entry point 'hours' = {value!r} must be 'module:Class'"
    )
    assert find(Kind.STAGE, "whole").__name__ == "Hours"
