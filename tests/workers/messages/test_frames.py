"""Frames: values on a stream, and peers that send something else."""

import struct

import pytest
import trio
import trio.testing

from trioedge.workers.messages.frames import MAX_FRAME_BYTES, ChannelError, Frames, pack


async def test_values_arrive_in_order_whatever_the_chunks() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    frames = Frames(theirs)
    for byte in pack({"a": 1}) + pack([2, "three"]):
        await ours.send_all(bytes([byte]))
    assert [await frames.receive(), await frames.receive()] == [{"a": 1}, [2, "three"]]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "hung up"),
        (b"\x00\x00", "hung up"),
        (pack("half")[:-2], "hung up"),
        (struct.pack(">I", MAX_FRAME_BYTES + 1), "announces a message of 1,048,577 bytes"),
        (struct.pack(">I", 3) + b"abc", "cannot be read"),
    ],
    ids=["nothing", "half a length", "half a pickle", "too long", "no pickle"],
)
async def test_a_peer_that_sends_no_frame_is_an_error(sent: bytes, words: str) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(sent)
    await ours.send_eof()
    with pytest.raises(ChannelError, match=words):
        await Frames(theirs).receive()


async def test_a_cancel_while_receiving_loses_nothing() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    frame = pack("whole")
    frames = Frames(theirs)
    await ours.send_all(frame[:6])
    with trio.move_on_after(0):
        await frames.receive()
    await ours.send_all(frame[6:])
    assert await frames.receive() == "whole"


async def test_sending_to_a_peer_that_has_hung_up_is_an_error() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.aclose()
    with pytest.raises(ChannelError, match="hung up"):
        await Frames(ours).send(pack(1))


@pytest.mark.parametrize(("value", "words"), [(lambda: 1, "cannot be sent"), (bytes(MAX_FRAME_BYTES), "too long")])
def test_a_value_that_makes_no_frame_is_an_error(value: object, words: str) -> None:
    with pytest.raises(ChannelError, match=words):
        pack(value)
