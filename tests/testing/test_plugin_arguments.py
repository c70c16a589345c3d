from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal

import attrs
import pytest

from trioedge.testing.plugin_arguments import CANDIDATES, Argument, arguments_of, wrong_values


class Colour(StrEnum):
    RED = "red"


TEXT, WHOLE, NUMBER, FLAG, LIST, TABLE = CANDIDATES


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
        (list[str], [TEXT, LIST]),
        (Iterable[str], [TEXT, LIST]),
        (tuple[int, ...], [TEXT, LIST]),
        (Mapping[str, int], [TABLE]),
        (str | int, [TEXT, WHOLE]),
    ],
)
def test_values_of_other_types_are_wrong(annotation: Any, taken: list[object]) -> None:
    wrong = [value for value, because in wrong_values(Argument("x", annotation, False, "")) if "type" in because]
    assert wrong == [each for each in CANDIDATES if not any(each is one for one in taken)]


@pytest.mark.parametrize("annotation", [Callable[[], int], Any, Argument, "Unknown", Argument | str])
def test_what_toml_has_no_values_of_has_no_wrong_ones(annotation: Any) -> None:
    assert list(wrong_values(Argument("x", annotation, False, "above 0"))) == []


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
    found = wrong_values(Argument("x", annotation, False, words))
    assert [value for value, because in found if because.startswith("its words say")] == wrong


def test_arguments_have_the_words_of_the_constructor() -> None:
    class Part:
        """A part."""

        def __init__(self, since: int, *rest: str, until: "float" = 18, **others: Any) -> None:
            """Make it.

            Args:
                since: the hour,
                    of the day.
                until (float): the end: exclusive.
                others: no argument of its own.

            Raises:
                ConfigurationError: never.
            """

    assert arguments_of(Part) == [
        Argument("since", int, True, "the hour, of the day."),
        Argument("until", float, False, "the end: exclusive."),
    ]


def test_arguments_have_the_words_of_an_attrs_class() -> None:
    @attrs.frozen
    class Part:
        """A part.

        Attributes:
            since: the hour.
        """

        since: int = 8
        until: int = 9

    assert arguments_of(Part) == [Argument("since", int, False, "the hour."), Argument("until", int, False, "")]


def test_a_function_without_words_and_with_an_unknown_annotation_has_arguments() -> None:
    def make(since: "Unknown" = 8) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert arguments_of(make) == [Argument("since", "Unknown", False, "")]
