"""One request on a stream, and its answer; the streams are memory."""

import json

import h11
import pytest
import trio
from trio.testing import memory_stream_pair

from trioedge.cli.client.round_trip import MAX_ANSWER_BYTES, PIECE, ApiRequest, RoundTrip


async def talk(request: ApiRequest, answer: bytes) -> tuple[bytes, int, bytes]:
    """Send a request to a server with this answer; give what the server read, and the status and the body of it."""
    ours, theirs = memory_stream_pair()
    sent = bytearray()
    round_trip = RoundTrip(ours)

    async def serve() -> None:
        async for chunk in theirs:
            sent.extend(chunk)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await round_trip.send(request)
        await theirs.send_all(answer)
        await theirs.send_eof()
        status, body = await round_trip.status(), await round_trip.rest()
        nursery.cancel_scope.cancel()
    return bytes(sent), status, body


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def test_a_request_has_its_query_without_what_is_none_and_its_token() -> None:
    sent, status, body = await talk(ApiRequest("GET", "/v1/top", {"by": "a&b", "limit": None}, token="secret"), OK)
    assert sent.splitlines()[0] == b"GET /v1/top?by=a%26b HTTP/1.1"
    assert b"Authorization: Bearer secret" in sent
    assert b"Connection: close" in sent
    assert (status, body) == (200, b"{}")


async def test_a_table_is_sent_as_json_and_lines_as_pieces() -> None:
    sent, *_ = await talk(ApiRequest("POST", "/v1/evict", body={"service": "ü"}), OK)
    assert json.dumps({"service": "ü"}).encode() in sent
    assert b"Content-Type: application/json" in sent
    request = ApiRequest("POST", "/v1/plan", body=(b"x" * 100 + b"\n" for _ in range(2_000)))
    pieces = list(request.pieces())
    assert sum(map(len, pieces)) == 202_000
    assert all(PIECE <= len(piece) < PIECE + 101 for piece in pieces[:-1])


async def test_an_answer_in_chunks_after_an_informational_one_is_read() -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert (await talk(ApiRequest("GET", "/ready"), answer))[1:] == (503, b"{}")


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"])
async def test_what_is_no_answer_is_an_error_of_the_protocol(answer: bytes) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await talk(ApiRequest("GET", "/ready"), answer)
    assert caught.group_contains(h11.RemoteProtocolError)


async def test_an_answer_is_bounded() -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_ANSWER_BYTES + 1}\r\n\r\n".encode()
    with pytest.raises(BaseExceptionGroup) as caught:
        await talk(ApiRequest("GET", "/ready"), head + b" " * (MAX_ANSWER_BYTES + 1))
    assert caught.group_contains(h11.RemoteProtocolError, match="longer than")


async def test_a_server_that_reads_not_all_of_a_body_is_no_error_of_sending() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.aclose()
    await RoundTrip(ours).send(ApiRequest("POST", "/v1/plan", body=[b"x"]))
    with pytest.raises(trio.BrokenResourceError):
        await RoundTrip(ours).send(ApiRequest("GET", "/v1/plan"))
