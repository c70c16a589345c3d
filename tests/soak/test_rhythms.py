"""Scripts and the comparison of bytes: a wrong byte is found at its place, whatever the pieces."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.soak.rhythms import MAX_PIECES, Check, ClientEnd, Pattern, ServerEnd, draw

PATTERN = Pattern()


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(0, 70_000), max_size=8), stream=st.integers(0, 10_000))
def test_the_right_bytes_are_right_in_any_pieces(sizes: list[int], stream: int) -> None:
    check, offset = Check(PATTERN, stream), 0
    for size in sizes:
        check.take(PATTERN.piece(stream, offset, size))
        offset += size
    assert (check.wrong, check.count) == (None, offset)


@settings(max_examples=25)
@given(at=st.integers(0, 99_999), first=st.integers(1, 100_000))
def test_a_flipped_byte_is_found_at_its_place(at: int, first: int) -> None:
    data = bytearray(PATTERN.piece(5, 0, 100_000))
    data[at] ^= 1
    check = Check(PATTERN, 5)
    check.take(bytes(data[:first]))
    check.take(bytes(data[first:]))
    assert check.wrong == at


@pytest.mark.parametrize("gap", [1, 64, 4_096, 65_536])
def test_a_gap_is_found(gap: int) -> None:
    check = Check(PATTERN, 5)
    check.take(PATTERN.piece(5, 0, 1_000))
    check.take(PATTERN.piece(5, 1_000 + gap, 1_000))
    assert check.wrong is not None
    assert 1_000 <= check.wrong < 1_004


def test_bytes_of_another_session_are_found() -> None:
    check = Check(PATTERN, 5)
    check.take(PATTERN.piece(6, 0, 100))
    assert check.wrong is not None
    assert check.wrong < 3


@given(number=st.integers(0, 10**9))
def test_an_orderly_script_is_orderly_and_no_side_sends_too_many_pieces(number: int) -> None:
    script = draw(number, random.Random(number), orderly=True)
    assert script.orderly
    assert script.up <= script.up_piece * MAX_PIECES
    assert script.down <= script.down_piece * MAX_PIECES


def test_all_ends_are_drawn() -> None:
    scripts = [draw(number, random.Random(number)) for number in range(500)]
    assert {script.client_end for script in scripts} == set(ClientEnd)
    assert {script.server_end for script in scripts} == set(ServerEnd)
