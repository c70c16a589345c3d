import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

import trioedge as te
from trioedge.config.annotated import shape_of


@pytest.mark.parametrize(
    ("annotation", "wants"),
    [
        (str, "text"),
        (int, "a whole number"),
        (float, "a number"),
        (bool, "true or false"),
        (bytes, "bytes as Python writes them, as in 'b\"SSH-\"'"),
        (float | None, "a number"),
        (Literal["a", "b"], "'a' or 'b'"),
        (te.Handover, "'reject_new' or 'evict_oldest' or 'hold'"),
        (te.Handover | Literal["hold"], "'reject_new' or 'evict_oldest' or 'hold' or 'hold'"),
        (Path, "a path"),
        (str | os.PathLike[str], "a path"),
        (Literal["-"] | str | os.PathLike[str], "'-' or a path"),
        (list[str], 'a list or { file = "…" }'),
        (Iterable[int], "a list"),
        (str | Sequence[str], 'a list or { file = "…" } or text'),
        (tuple[int, int], "a list of 2"),
        (tuple[int, ...], "a list"),
        (Set[str], 'a list or { file = "…" }'),
        (Mapping[str, int], "a table"),
        (dict[str, te.Grace], "a table"),
        (te.Secret, 'a secret: write { file = "…" }, { env = "…" } or { credential = "…" }'),
        (
            str | te.Secret | Callable[[], str] | None,
            'a secret: write { file = "…" }, { env = "…" } or { credential = "…" }',
        ),
        (te.Grace, "a table"),
        (te.AccessLog | None, "a table"),
        (te.Outbound | te.Recipe | None, "the name of an outbound"),
        (str | te.Address | te.Balanced, "the name of an outbound or text"),
        (te.Decision | te.Handshake | te.Recipe, "a table with use"),
        (te.Handshake | Literal["connect"] | None, "a table with use or 'connect'"),
        (int | Callable[[], int], "a whole number"),
        (Annotated[int, "a hint"], "a whole number"),
    ],
)
def test_an_annotation_has_a_shape(annotation: Any, wants: str) -> None:
    shape = shape_of(annotation)
    assert shape is not None
    assert shape.wants == wants


@pytest.mark.parametrize(
    "annotation",
    [
        Any, object, Callable[[], int], type, None, Mapping[str, object], list, list[object], tuple[object, int],
        te.Session, "not evaluated", Iterable[Callable[[], int]], Callable[[], int] | None,
    ],
)  # fmt: skip
def test_any_other_annotation_is_for_python_only(annotation: Any) -> None:
    assert shape_of(annotation) is None
