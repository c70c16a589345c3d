from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs
import pytest

import trioedge as te
from trioedge.config.keys import REQUIRED, keys_of, summary_of, words_of
from trioedge.plugins import PluginError


class Hours:
    """Refuse sessions outside of certain hours.

    More about it.
    """

    def __init__(
        self,
        since: int,
        until: "int" = 18,
        *days: str,
        mode: Literal["a", "b"] = "a",
        clock: Callable[[object], int] = id,
    ) -> None:
        """Set the hours.

        Args:
            since: the first hour, 0 to 23,
                in UTC; see :class:`~trioedge.Session`.
            until (int): the hour at which it ends.
            *days: on which ``it`` applies.
            mode: which.

        Raises:
            ConfigurationError: these are no hours.
        """


@attrs.frozen
class Grace:
    """A grace.

    Attributes:
        seconds: how long.
    """

    seconds: float = 5.0
    unknown: "NotDefined" = None  # type: ignore[name-defined]  # noqa: F821 - on purpose


def make(rate: float = 1) -> object:
    """Make a part.

    Arguments:
        rate: how often.
    """
    raise NotImplementedError(rate)


def test_keys_are_the_arguments_with_types_defaults_and_words() -> None:
    keys = keys_of(Hours)
    assert list(keys) == ["since", "until", "days", "mode", "clock"]
    shown = {name: (key.shape and key.shape.wants, key.default, key.required, key.spread) for name, key in keys.items()}
    assert shown == {
        "since": ("a whole number", REQUIRED, True, False),
        "until": ("a whole number", 18, False, False),
        "days": ('a list or { file = "…" }', REQUIRED, False, True),
        "mode": ("'a' or 'b'", "a", False, False),
        "clock": (None, id, False, False),
    }
    assert keys["since"].words == "the first hour, 0 to 23, in UTC; see `Session`."
    assert keys["until"].words == "the hour at which it ends."
    assert keys["days"].words == "on which `it` applies."
    assert keys["clock"].words == ""
    assert summary_of(Hours) == "Refuse sessions outside of certain hours."


def test_an_attrs_class_and_a_function_have_keys_too() -> None:
    assert [(key.name, key.words) for key in keys_of(Grace).values()] == [("seconds", "how long."), ("unknown", "")]
    assert keys_of(Grace)["unknown"].shape is None
    assert [(key.name, key.words) for key in keys_of(make).values()] == [("rate", "how often.")]


@pytest.mark.parametrize(
    "maker", [te.SessionGate, te.Forward, te.HttpControl, te.Edge, te.Grace, te.Member, te.Direct, te.AccessLog]
)
def test_every_argument_of_a_part_that_ships_has_words(maker: Any) -> None:
    assert set(words_of(maker)) >= set(keys_of(maker))


class Bare:
    def __init__(self, words: Sequence[str]) -> None: ...


def test_a_class_without_docstrings_has_keys_without_words() -> None:
    assert [(key.words, key.required) for key in keys_of(Bare).values()] == [("", True)]
    assert summary_of(Bare) == ""


class Odd:
    def __init__(self, hosts: [str] = (), until: "exit(3)" = 1, at: Literal[[]] = 2) -> None: ...  # type: ignore[valid-type]


def test_an_annotation_that_is_none_is_one_that_python_alone_can_give() -> None:
    assert [(key.name, key.shape) for key in keys_of(Odd).values()] == [("hosts", None), ("until", None), ("at", None)]


class Unsigned:
    __signature__ = 5

    def __init__(self, x: int = 1) -> None: ...


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> None: ...


@pytest.mark.parametrize("maker", [dict, Unsigned, Unhashable()])
def test_a_part_whose_arguments_cannot_be_read_is_a_mistake_of_a_plugin(maker: Any) -> None:
    with pytest.raises(PluginError, match=r"^the arguments of <.*> cannot be read: \w+Error\("):
        keys_of(maker)
