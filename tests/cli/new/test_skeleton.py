from pathlib import Path

import pytest

import trioedge as te
from trioedge.cli.new.plugin import KINDS, PluginKind
from trioedge.cli.new.skeleton import (
    MAX_NAME_LETTERS,
    TEMPLATES,
    check_letters,
    check_plugin_name,
    class_name,
    filled,
    module_name,
    summary_of,
    write,
)


@pytest.mark.parametrize(
    ("name", "module", "made"),
    [("x", "x", "X"), ("open-hours", "open_hours", "OpenHours"), ("geo2-ip4", "geo2_ip4", "Geo2Ip4")],
)
def test_a_name_gives_a_module_and_a_class(name: str, module: str, made: str) -> None:
    check_plugin_name(name)
    assert (module_name(name), class_name(name)) == (module, made)


@pytest.mark.parametrize("name", ["", "X", "1x", "x_y", "x-", "-x", "x--y", "x y", "../x", "x" * 31, "ü", "x\n"])
def test_a_name_of_other_letters_is_refused(name: str) -> None:
    for check in (check_letters, check_plugin_name):
        with pytest.raises(
            te.ConfigurationError, match="must be lower-case letters, digits and hyphens, a letter first"
        ):
            check(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("session-gate", "'session-gate' is a stage that ships: take another name"),
        ("direct", "'direct' is an outbound that ships: take another name"),
        ("true", "name 'true' makes a class True, which Python has for itself: take another name"),
        ("test-limit", "name 'test-limit' makes a class TestLimit, which pytest takes for a test: take another name"),
    ],
)
def test_a_name_that_is_taken_is_refused_for_a_plugin_alone(name: str, says: str) -> None:
    check_letters(name)
    with pytest.raises(te.ConfigurationError) as caught:
        check_plugin_name(name)
    assert str(caught.value) == says


def test_names_and_inserts_are_filled_in(tmp_path: Path) -> None:
    for path, text in {
        "all/trioedge_my_part/x.py": "class MyPart: '<<words>>'",
        "one/my-part.md": "my-part, my_part:\n<<_keys.md>>\n<<trioedge_my_part/x.py>>",
        "one/_keys.md": "the keys of my-part\n\n",
        "one/ignored.md": None,
    }.items():
        place = tmp_path / (path if text is None else f"{path}.in")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text or "")
    found = filled([tmp_path / "all", tmp_path / "one"], "open-hours", {"words": "W"})
    assert found == {
        "trioedge_open_hours/x.py": "class OpenHours: 'W'",
        "open-hours.md": "open-hours, open_hours:\nthe keys of open-hours\nclass OpenHours: '<<words>>'",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_each_template_begins_with_a_summary_of_one_sentence(kind: PluginKind) -> None:
    summary = summary_of(TEMPLATES / "plugin" / kind / "trioedge_my_part/__init__.py.in")
    assert summary.endswith(".")
    assert 20 < len(summary) < 80


def test_files_are_written_into_a_new_folder(tmp_path: Path) -> None:
    write(tmp_path / "x", {"a.md": "A", "b/c.py": "ü"})
    assert (tmp_path / "x/a.md").read_text() == "A"
    assert (tmp_path / "x/b/c.py").read_text(encoding="utf-8") == "ü"


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(te.ConfigurationError, match="is there already: nothing was written"):
        write(tmp_path / "x", {"a.md": "A"})
    assert list((tmp_path / "x").iterdir()) == []
    with pytest.raises(te.ConfigurationError, match="no is no folder"):
        write(tmp_path / "no/x", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(te.ConfigurationError, match="file is no folder"):
        write(tmp_path / "file/x", {})


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(te.ConfigurationError, match="cannot be made: File name too long"):
        write(tmp_path / ("x" * 300), {})


def test_lines_are_short_with_the_longest_name() -> None:
    from trioedge.cli.new.plugin import files

    for kind in KINDS:
        for path, text in files("x" * MAX_NAME_LETTERS, kind).items():
            if path.endswith(".py"):
                assert max(map(len, text.splitlines())) <= 120, (kind, path)
