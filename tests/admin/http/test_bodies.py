"""Bodies of requests, with their bounds."""

from typing import Any

import pytest
import trio

from tests.support.admin import api_of, ask
from trioedge.admin.http.bodies import read_body
from trioedge.admin.operation import MAX_BODY
from trioedge.admin.refusals import RefusedError


def receiving(*events: dict[str, Any]) -> Any:
    left = [*events]

    async def receive() -> dict[str, Any]:
        if not left:
            await trio.sleep_forever()
        return left.pop(0)

    return receive


async def test_a_body_in_parts_is_whole() -> None:
    first = {"type": "http.request", "body": b"ab", "more_body": True}
    parts = receiving(first, {"type": "http.request", "body": b"c"})
    assert await read_body(parts, {}, 3, 1) == b"abc"


@pytest.mark.parametrize("said", [{}, {b"content-length": b"4"}, {b"content-length": b"9" * 400}])
async def test_a_body_above_its_bound_is_413(said: dict[bytes, bytes]) -> None:
    parts = receiving(*[{"type": "http.request", "body": b"ab", "more_body": True}] * 2)
    with pytest.raises(RefusedError, match="more than 3 bytes") as refused:
        await read_body(parts, said, 3, 1)
    assert refused.value.status == 413


async def test_a_body_that_does_not_come_is_408(autojump_clock: object) -> None:
    with pytest.raises(RefusedError, match="within 5 s") as refused:
        await read_body(receiving({"type": "http.request", "body": b"a", "more_body": True}), {}, 3, 5)
    assert (refused.value.status, trio.current_time()) == (408, 5)


async def test_a_client_that_leaves_ends_its_body() -> None:
    with pytest.raises(RefusedError, match="the client has left"):
        await read_body(receiving({"type": "http.disconnect"}), {}, 3, 5)


async def test_a_body_above_64_kib_is_refused_by_the_api_and_its_connection_closed() -> None:
    answer = await ask(api_of(), "POST", "/v1/evict", b" " * (MAX_BODY + 1))
    assert (answer.status, answer.headers[b"connection"]) == (413, b"close")
