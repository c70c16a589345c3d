"""Answers on their way to the client."""

from typing import Any

from trioedge.admin.http.responses import Response, Streamed


class Client:
    """A client; it notes what comes."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.over = False

    async def send(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def behind(self) -> None:
        assert not self.events[-1].get("more_body", False), "the answer is complete by now"
        self.over = True


async def test_a_whole_answer_says_its_length_and_is_followed_by_what_comes_behind_it() -> None:
    client = Client()
    await Response([b"ab", b"cde"], b"text/plain", 503, [(b"x", b"y")], client.behind).send(client.send)
    start, first, last = client.events
    assert start["status"] == 503
    headers = dict(start["headers"])
    assert (headers[b"content-length"], headers[b"content-type"], headers[b"x"]) == (b"5", b"text/plain", b"y")
    assert ((first["body"], first["more_body"]), last["body"]) == ((b"ab", True), b"cde")
    assert client.over


async def test_an_empty_answer_has_a_body_of_no_bytes() -> None:
    client = Client()
    await Response([]).send(client.send)
    assert client.events[1] == {"type": "http.response.body", "body": b""}


async def test_a_stream_has_no_length_and_ends() -> None:
    client = Client()

    async def run(send_chunk: Any) -> None:
        await send_chunk(b"a")

    await Streamed(run, b"text/event-stream").send(client.send)
    assert b"content-length" not in dict(client.events[0]["headers"])
    assert [each["body"] for each in client.events[1:]] == [b"a", b""]
