from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

import trioedge as te
from trioedge.config.annotated import shape_of
from trioedge.config.keys import Key
from trioedge.testing.wrong_values import CANDIDATES, wrong_values


class Colour(StrEnum):
    RED = "red"


TEXT, WHOLE, NUMBER, FLAG, LIST, TABLE = CANDIDATES


def key(annotation: Any, words: str = "", *, spread: bool = False) -> Key:
    return Key("x", shape_of(annotation), 3, words, spread)


@pytest.mark.parametrize(
    ("annotation", "taken"),
    [
        (str, [TEXT]),
        (int, [WHOLE]),
        (float, [WHOLE, NUMBER]),
        (float | None, [WHOLE, NUMBER]),
        (bool, [FLAG]),
        (Literal["a", "b"], []),
        (Colour, []),
        (Path, [TEXT]),
        (list[str], [LIST, TABLE]),
        (Iterable[str] | str, [TEXT, LIST, TABLE]),
        (tuple[int, ...], [LIST, TABLE]),
        (Mapping[str, int], [TABLE]),
        (str | int, [TEXT, WHOLE]),
        (Callable[[], int] | str, [TEXT]),
        (te.Secret, [TEXT, TABLE]),
    ],
)
def test_values_of_other_types_are_wrong(annotation: Any, taken: list[object]) -> None:
    wrong = [value for value, because in wrong_values(key(annotation)) if "type" in because]
    assert wrong == [each for each in CANDIDATES if not any(each is one for one in taken)]


@pytest.mark.parametrize("annotation", [Callable[[], int], Any, object])
def test_a_key_of_which_toml_has_no_values_has_no_wrong_ones(annotation: Any) -> None:
    assert list(wrong_values(key(annotation, "above 0"))) == []


def test_further_arguments_have_no_wrong_values() -> None:
    assert list(wrong_values(key(list[str], spread=True))) == []


@pytest.mark.parametrize(
    ("annotation", "words", "wrong"),
    [
        (int, "the hour, 0 to 23.", [-1, 24]),
        (int, "the port, from 1 to 65,535", [0, 65_536]),
        (int, "at least 1", [0]),
        (int | None, "at most 1,000; None for no limit", [1_001]),
        (float, "seconds, above 0 and below 2.5", [0, 2.5]),
        (float, "at least 0.5", [-0.5]),
        (str, "a line of 1 to 3 letters.", ["", "xxxx"]),
        (str, "text of at least 0 letters", []),
        (str, "a port, 1 to 3", []),
        (bool, "at least 1", []),
        (int, "how many of them there are, to 3 or so", []),
    ],
)
def test_values_beyond_the_bounds_in_words_are_wrong(annotation: Any, words: str, wrong: list[object]) -> None:
    found = wrong_values(key(annotation, words))
    assert [value for value, because in found if because.startswith("its words say")] == wrong
