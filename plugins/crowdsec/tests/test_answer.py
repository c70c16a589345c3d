"""Answers, read while they arrive in any pieces."""

import json
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trioedge_crowdsec import answer as module
from trioedge_crowdsec.answer import PER_STEP, read_answer
from trioedge_crowdsec.errors import LapiError

ONE = {"id": 1, "value": "192.0.2.7"}


class Chunks:
    """The chunks of a body, as an iterator that is no generator."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.given = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        for chunk in self._chunks:
            self.given += len(chunk)
            return chunk
        raise StopAsyncIteration


async def read(body: str | bytes, size: int = 7) -> tuple[list[Any], list[Any]]:
    data = body if isinstance(body, bytes) else body.encode()
    new, deleted = list[Any](), list[Any]()
    chunks = Chunks(data[start : start + size] for start in range(0, len(data), size))
    await read_answer(chunks, {"new": new.append, "deleted": deleted.append})
    return new, deleted


@pytest.mark.parametrize(
    ("body", "new", "deleted"),
    [
        ('{"new":null,"deleted":null}', [], []),
        ('{"deleted":null,"new":[]}', [], []),
        ('{"new":[]}', [], []),
        ('{"new":[{"id":1,"value":"192.0.2.7"}],"deleted":[{"id":2},{"id":3}]}', [ONE], [{"id": 2}, {"id": 3}]),
        (' { "new" : [ {"id": 1, "value": "192.0.2.7"} , 5 ] ,\n"deleted"\t: null } \r\n', [ONE, 5], []),
        ('{"more":{"a":[1,2]},"count":12345678,"list":[1,[2]],"new":[],"deleted":[null]}', [], [None]),
        ('{"new":[1],"new":[2]}', [1, 2], []),
        ('{"new":["\\u20ac€\\"}]"]}', ['€€"}]'], []),
        ('{"new":[1234567, -0.5, true, false, 1.5e-3, "x"]}', [1234567, -0.5, True, False, 1.5e-3, "x"], []),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_the_decisions_of_an_answer_are_taken_in_any_pieces(
    body: str, new: list[object], deleted: list[object], size: int
) -> None:
    assert await read(body, size) == (new, deleted)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("", "cut off"),
        ("[]", "not the JSON of a stream"),
        ("null", "not the JSON of a stream"),
        ("<html>busy</html>", "not the JSON of a stream"),
        ("{", "not the JSON of a stream"),
        ("{}", "no decisions"),
        ('{"message":"no"}', "no decisions"),
        ('{"deleted":[]}', "no decisions"),
        ('{"new":{}}', "new in its answer is no list"),
        ('{"new":[],"deleted":5}', "deleted in its answer is no list"),
        ('{"new":[{"id":1}', "cut off"),
        ('{"new":[{"id":1}]', "cut off"),
        ('{"new":[{"id":1},', "cut off"),
        ('{"new":[{"id":', "cut off, or no JSON"),
        ('{"new":[{"id":1} {"id":2}]}', "not the JSON of a stream"),
        ('{"new":[}]}', "no JSON"),
        ('{"new":[]}{}', "goes on behind its end"),
        ('{"new":[],}', "not the JSON of a stream"),
        ('{new:[]}', "not the JSON of a stream"),
        (b'{"new":["\xff"]}', "no text of UTF-8"),
        (b'{"new":["\xe2\x82', "no text of UTF-8"),
        ('{"new":[' + "[" * 60_000, "no JSON"),
        ('{"new":[' + "9" * 5_000 + "]}", "no JSON"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 1000])
async def test_a_bad_answer_is_refused(body: str | bytes, fault: str, size: int) -> None:
    if len(body) > 10_000 and size == 1:
        size = 100
    with pytest.raises(LapiError, match=fault):
        await read(body, size)


async def test_the_decisions_before_a_fault_have_been_taken() -> None:
    taken = list[Any]()
    with pytest.raises(LapiError):
        await read_answer(Chunks([b'{"new":[1,2', b',"x']), {"new": taken.append})
    assert taken == [1, 2]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.dictionaries(st.text(max_size=4), st.text() | st.integers() | st.none()), max_size=6),
    st.lists(st.integers(), max_size=3),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
)
def test_every_answer_of_json_is_read(new: list[Any], deleted: list[int], size: int, indent: int | None) -> None:
    body = json.dumps({"deleted": deleted, "new": new}, indent=indent, ensure_ascii=bool(indent))
    assert trio.run(read, body, size) == (new, deleted)


async def test_a_decision_of_the_whole_body_without_an_end_is_given_up_early() -> None:
    chunks = Chunks([b'{"new":["'] + [b"x" * 10_000] * 1000)
    with pytest.raises(LapiError, match="more than 65,536 letters"):
        await read_answer(chunks, {"new": print})
    assert chunks.given < 300_000


async def test_an_answer_that_is_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1_000)
    chunks = Chunks([b'{"new":['] + [b"1," * 50] * 1000)
    with pytest.raises(LapiError, match="more than 1,000 bytes"):
        await read_answer(chunks, {"new": str})
    assert chunks.given < 1_200


async def test_other_tasks_run_while_many_decisions_are_read() -> None:
    taken = list[Any]()
    seen = list[int]()

    async def look() -> None:
        while True:
            seen.append(len(taken))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        body = json.dumps({"new": list(range(20 * PER_STEP))}).encode()
        await read_answer(Chunks([body]), {"new": taken.append})
        nursery.cancel_scope.cancel()
    assert max(later - earlier for earlier, later in pairwise(seen)) <= 2 * PER_STEP
    assert len(set(seen)) >= 10
