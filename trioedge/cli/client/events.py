"""Read an event stream: ``text/event-stream`` of the HTML standard."""

import codecs
from collections.abc import Iterator
from typing import Final

MAX_LINE_LETTERS: Final = 4 << 20
"""A longer line is no event of an edge."""


class EventReader:
    """Makes events out of the bytes of a stream, however they are cut. It waits for nothing."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[tuple[str, str]]:
        """Take the next bytes; give the name and the data of each event that is whole now.

        Raises:
            ValueError: a line is too long.
        """
        lines = (self._rest + self._decode(chunk)).split("\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE_LETTERS:
            raise ValueError("a line of the event stream is too long")
        for line in lines:
            yield from self._take(line.removesuffix("\r"))

    def _take(self, line: str) -> Iterator[tuple[str, str]]:
        if not line:
            if self._data:
                yield self._event or "message", "\n".join(self._data)
            self._event, self._data = "", []
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._event = value
        elif field == "data":
            self._data.append(value)
