import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trioedge.config.places import lines_of

TEXT = '''# a comment with [brackets] and = signs
top = 1
"quoted key" = "a # b"

[process]
log_level = "info"   # [not.a.header]

[edge.redis]
listen = [
  "tcp://127.0.0.1:1",
  "tcp://127.0.0.1:2",  # two
]
endpoint = { use = "forward", to = "x" }
stages = [
  { use = "a", rate = 1 },
  { use = "b", inner = { deep = [1, 2] } },
]

[[edge.other.stages]]
use = "first"

[[edge.other.stages]]
use = "second"
words = """
[edge.redis]
listen = 3
"""
[edge.other.stages.grace]
seconds = 3
[edge.other.control]
a.b.c = 4
'''


def test_each_key_of_every_form_has_its_line() -> None:
    lines = lines_of(TEXT)
    numbered = TEXT.splitlines()
    for path, begins in {
        ("top",): "top =",
        ("quoted key",): '"quoted key"',
        ("process", "log_level"): "log_level",
        ("edge", "redis"): "[edge.redis]",
        ("edge", "redis", "listen"): "listen = [",
        ("edge", "redis", "listen", 1): '  "tcp://127.0.0.1:2"',
        ("edge", "redis", "endpoint", "to"): "endpoint =",
        ("edge", "redis", "stages", 1, "inner", "deep", 1): '  { use = "b"',
        ("edge", "other", "stages", 0, "use"): 'use = "first"',
        ("edge", "other", "stages", 1): "[[edge.other.stages]]",
        ("edge", "other", "stages", 1, "use"): 'use = "second"',
        ("edge", "other", "stages", 1, "words"): 'words = """',
        ("edge", "other", "stages", 1, "grace", "seconds"): "seconds = 3",
        ("edge", "other", "control", "a", "b", "c"): "a.b.c = 4",
    }.items():
        assert numbered[lines[path] - 1].startswith(begins), path
    assert ("edge", "redis", "listen", 2) not in lines


def test_text_inside_of_a_value_is_no_key() -> None:
    assert lines_of(TEXT)["edge", "redis", "listen"] == 9


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Give the path of every value in a document."""
    found = [path] if path else []
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in entries:
        found += paths(each, (*path, key))
    return found


def test_every_path_of_a_document_has_a_line() -> None:
    assert set(paths(tomllib.loads(TEXT))) <= set(lines_of(TEXT))


KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5)
VALUES = st.recursive(
    st.integers(-9, 9) | st.booleans() | KEYS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner)
)


def written(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",\n # ]\n".join(map(written, value)) + "\n]"
    return quoted(value) if isinstance(value, str) else str(value).lower()


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.dictionaries(KEYS, VALUES, min_size=1))
def test_any_document_has_a_line_for_every_path(document: dict[str, Any]) -> None:
    text = "\n".join(f"{quoted(key)} = {written(each)}" for key, each in document.items())
    assert tomllib.loads(text) == document
    lines = lines_of(text)
    assert set(paths(document)) <= set(lines)
    order = [lines[(key,)] for key in document]
    assert order == sorted(set(order))


@given(st.text())
def test_any_text_ends(text: str) -> None:
    lines_of(text)
