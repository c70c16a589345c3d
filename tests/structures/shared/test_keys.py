import os
import subprocess
import sys
from enum import Enum, IntEnum, StrEnum
from typing import NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.errors import ConfigurationError
from trioedge.structures.shared.keys import digest_of, key_bytes

plain = st.one_of(
    st.text(max_size=4), st.binary(max_size=4), st.integers(-3, 300), st.booleans(), st.none(),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.0**70, float("inf")]),
)  # fmt: skip
any_key = st.recursive(plain, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


class Point(NamedTuple):
    x: int
    y: int


class Colour(Enum):
    RED = 1
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Name(StrEnum):
    SHOP = "shop"


@attrs.frozen
class Tenant:
    key_name: str


@examples(400)
@given(any_key, any_key)
def test_keys_have_the_same_bytes_exactly_when_a_dict_takes_them_for_one_key(one: object, other: object) -> None:
    assert (key_bytes(one) == key_bytes(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Level.LOW, 1), (Name.SHOP, "shop"), (True, 1), (2.0, 2), (-0.0, 0),
        (Point(1, 2), (1, 2)),
    ],
)  # fmt: skip
def test_values_that_are_equal_are_one_key(one: object, other: object) -> None:
    assert key_bytes(one) == key_bytes(other)


def test_an_object_with_a_name_is_the_key_of_its_name() -> None:
    assert key_bytes((Tenant("shop"), 1)) == key_bytes(("shop", 1))


def test_members_of_an_enum_texts_bytes_and_tuples_are_keys_of_their_own() -> None:
    keys = [Colour.RED, Colour.BLUE, 1, "blue", "RED", "shop", ("shop",), b"shop", ""]
    assert len({key_bytes(each) for each in keys}) == len(keys)


@pytest.mark.parametrize("key", [object(), frozenset(), (1, object()), int, 1j])
def test_a_key_that_other_processes_cannot_know_is_refused_with_the_remedy(key: object) -> None:
    with pytest.raises(ConfigurationError, match=r"means nothing to other workers: use text, bytes, numbers"):
        key_bytes(key)


def test_a_digest_has_its_highest_bit_and_differs_by_owner_and_by_salt() -> None:
    digests = [digest_of(owner, salt)("key") for owner in ("a", "b", ("a", 1)) for salt in (b"1", b"2")]
    assert len(set(digests)) == len(digests)
    assert all(1 << 63 <= each < 1 << 64 for each in digests)


def test_a_digest_is_the_same_in_another_run_of_python() -> None:
    code = "from trioedge.structures.shared.keys import digest_of; print(digest_of('edge', b'salt')(('shop', 7, b'x')))"
    found = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, check=True
    )
    assert int(found.stdout) == digest_of("edge", b"salt")(("shop", 7, b"x"))
