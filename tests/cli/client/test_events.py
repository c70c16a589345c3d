from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.cli.client.events import MAX_LINE_LETTERS, EventReader

STREAM = (
    'event: ended\ndata: {"id": 1}\n\n: a comment\n\ndata: none\r\n\r\nevent: ü\ndata: é\ndata:two\nid: 7\n\nevent: cut'
)
EVENTS = [("ended", '{"id": 1}'), ("message", "none"), ("ü", "é\ntwo")]


@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=20))
def test_events_come_whole_however_the_bytes_are_cut(places: list[int]) -> None:
    reader, raw = EventReader(), STREAM.encode()
    cuts = [0, *sorted(places), len(raw)]
    found = [event for start, end in pairwise(cuts) for event in reader.feed(raw[start:end])]
    assert found == EVENTS


def test_an_event_without_data_is_none() -> None:
    assert list(EventReader().feed(b"event: ended\n\n\n\ndata: x\n\n")) == [("message", "x")]


def test_a_line_without_an_end_is_refused() -> None:
    reader = EventReader()
    assert list(reader.feed(b"data: " + b"x" * (MAX_LINE_LETTERS - 6))) == []
    with pytest.raises(ValueError, match="too long"):
        list(reader.feed(b"x"))
