"""Lines of a stream, however it is cut."""

import pytest
import trio

from trioedge.cli.demo.printed_lines import printed_lines


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a", b"b\n", b"\nc"], ["ab", "", "c"]),
        ([b"\xff\n"], ["\ufffd"]),
    ],
)
async def test_each_line_comes_once_and_the_last_one_without_an_end_as_well(
    pieces: list[bytes], lines: list[str]
) -> None:
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for piece in pieces:
                await ours.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            await ours.aclose()

        nursery.start_soon(send)
        assert [line async for line in printed_lines(theirs)] == lines
