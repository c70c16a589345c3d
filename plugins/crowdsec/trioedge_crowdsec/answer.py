"""An answer of the local API, read while it arrives: ``{"new": [decision…] or null, "deleted": [decision…] or null}``.

An answer of 100,000 decisions has some 20 MB, and to parse it in one go would hold the event loop for a fifth of a
second. So each decision is parsed by itself, and other tasks run after every few.
"""

import codecs
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import trio

from .errors import LapiError

PER_STEP: Final = 64
"""Decisions between two checkpoints; they take some 0.4 ms."""

MAX_DECISION_LETTERS: Final = 65_536
MAX_ANSWER_BYTES: Final = 128 * 1024 * 1024

_BLANKS: Final = frozenset(" \t\n\r")
_BEHIND_NUMBERS: Final = _BLANKS | frozenset(",]}")
_NO_STREAM: Final = "its answer is not the JSON of a stream"
_decode: Final = json.JSONDecoder().raw_decode


async def read_answer(chunks: AsyncIterator[bytes], take: Mapping[str, Callable[[Any], object]]) -> None:
    """Read an answer, and call a function for each decision of its lists.

    After an error and after a cancel, the decisions that came before it have been taken.

    Args:
        chunks: the body, in any pieces.
        take: the function of each list, by its name; other lists are skipped. Each is called with a value of JSON,
            whatever it is. ``new`` must be in the answer.

    Raises:
        LapiError: it is no answer of this shape, it is cut off, or it has more than 128 MiB.
    """
    await _Reading(chunks).answer(take)


class _Reading:
    """The text of an answer that has arrived, and how far it is read."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._received = 0
        self._ended = False

    async def answer(self, take: Mapping[str, Callable[[Any], object]]) -> None:
        found = set[str]()
        await self._expect("{")
        while await self._goes_on("}", first=not found):
            if await self._next() != '"':
                raise LapiError(_NO_STREAM)
            name = str(await self._value())
            await self._expect(":")
            if await self._next() == "[":
                await self._list(take.get(name, _skip))
            elif await self._value() is not None and name in take:
                raise LapiError(f"{name} in its answer is no list")
            found.add(name)
        if await self._next():
            raise LapiError("its answer goes on behind its end")
        if "new" not in found:
            raise LapiError("its answer has no decisions")

    async def _list(self, take: Callable[[Any], object]) -> None:
        taken = 0
        await self._expect("[")
        while await self._goes_on("]", first=not taken):
            take(await self._value())
            taken += 1
            if not taken % PER_STEP:
                await trio.lowlevel.checkpoint()

    async def _goes_on(self, end: str, *, first: bool) -> bool:
        """Skip the comma before the next item, or the end of the items; False at the end."""
        found = await self._next()
        if found == end:
            self._at += 1
        elif not first:
            await self._expect(",")
        return found != end

    async def _next(self) -> str:
        """Skip blanks, and give the next character; none at the end."""
        while True:
            while self._at < len(self._text):
                letter = self._text[self._at]
                if letter not in _BLANKS:
                    return letter
                self._at += 1
            if self._ended:
                return ""
            await self._receive()

    async def _expect(self, letter: str) -> None:
        found = await self._next()
        if found != letter:
            raise LapiError(_NO_STREAM if found else "its answer is cut off")
        self._at += 1

    async def _value(self) -> Any:
        """Parse the next value; wait for all of it."""
        await self._next()
        while True:
            fault: Exception | None = None
            try:
                value, end = _decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                fault = error
            else:
                whole = not isinstance(value, (int, float)) or self._text[end : end + 1] in _BEHIND_NUMBERS
                if whole or self._ended:  # a number may go on with what has not arrived
                    self._at = end
                    return value
            left = len(self._text) - self._at
            if self._ended:
                raise LapiError("its answer is cut off, or no JSON") from fault
            if left > MAX_DECISION_LETTERS:
                raise LapiError(
                    f"a decision in its answer is no JSON, or has more than {MAX_DECISION_LETTERS:,} letters"
                )
            while not self._ended and len(self._text) - self._at < 2 * left:  # so a value is not parsed too often
                await self._receive()

    async def _receive(self) -> None:
        """Receive some more text, or learn that there is none."""
        chunk = await anext(self._chunks, None)
        self._ended = chunk is None
        self._received += len(chunk or b"")
        if self._received > MAX_ANSWER_BYTES:
            raise LapiError(f"its answer has more than {MAX_ANSWER_BYTES:,} bytes")
        try:
            more = self._decoder.decode(chunk or b"", final=chunk is None)
        except UnicodeDecodeError:
            raise LapiError("its answer is no text of UTF-8") from None
        self._text, self._at = self._text[self._at :] + more, 0


def _skip(_: Any) -> None:
    """Take nothing."""
