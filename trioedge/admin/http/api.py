"""The admin API as an ASGI application: from a request to an operation of the table, and to its answer.

| a request | answer |
| --- | --- |
| of an unknown path; with another method | 404; 405 with ``Allow`` |
| without the right token, where there is one | 401, and a line in the log, at most one a second |
| of a page of another site, where there is no token | 403 |
| with a body that is too large, or comes too slowly | 413; 408 |
| with parameters or a body that have faults | 422 with all of them |
| of an operation that fails | 500, and its exception in the log |
| else | the answer, made in slices |

Every error is counted by its status.
"""

import hmac
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import trio

from ...endpoints.asgi.messages import Message, Receive, Send
from ...errors import ENDS, ConfigurationError
from ...loop.slices import in_slices
from ...secrets import Secret
from ...telemetry.log import EdgeLog
from ..asking import ANSWER_SECONDS, EdgeAsker, NotingAsker, Parameters
from ..operation import MAX_BODY, Operation
from ..refusals import RefusedError
from .bodies import read_body
from .encoding import encoded
from .requests import check_type, read_parameters, read_table
from .responses import MISSING, Response, Streamed
from .routing import Routes
from .sites import check_site

BODY_SECONDS: Final = 30.0
"""How long the body of a request may take."""

Own: TypeAlias = Callable[[Parameters, Receive], Awaitable[Response | Streamed]]
"""Answers an operation by the API itself: of the checked parameters, and of what gives the body of a snapshot."""


class AdminApi:
    """The admin API as an ASGI application.

    Attributes:
        errors: how often each status of an error was answered.
        own: what the API itself answers, by the name of the operation.
    """

    def __init__(self, asker: EdgeAsker, log: EdgeLog, own: Mapping[str, Own], token: Secret | None = None) -> None:
        """Answer nothing yet.

        Args:
            asker: asks every process that serves the edge.
            log: for refused tokens and for faults.
            own: answers the operations that the API itself answers, by name.
            token: what a request has to bring; None where the socket's permissions are enough.
        """
        self._asker, self._log, self._token = asker, log, token
        self._routes = Routes()
        self.own = own
        self.errors: Counter[int] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])  # in ASGI: this application has no lifespan
        try:
            response = await self._answer(scope, receive)
        except RefusedError as refused:
            response = await self._refusal(refused, scope)
        except ENDS:
            raise
        except Exception:
            self.errors[500] += 1
            raise  # the server logs it, and answers
        if isinstance(response, Response):
            await response.send(send)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_left, receive, nursery.cancel_scope)
            await response.send(send)
            nursery.cancel_scope.cancel()

    async def _answer(self, scope: Message, receive: Receive) -> Response | Streamed:
        headers = dict(scope["headers"])
        operation, path = self._routes.find(scope["method"], scope["raw_path"])
        if not operation.open:
            self._check_caller(headers)
        body: dict[str, Any] = {}
        if operation.of("body"):
            check_type(headers)
            body = read_table(await read_body(receive, headers, MAX_BODY, BODY_SECONDS))
        parameters = read_parameters(operation, path, scope["query_string"], body)
        own = self.own.get(operation.name)
        if own is not None:
            return await own(parameters, receive)
        if operation.own:
            raise RefusedError(404, f"this edge has no {operation.path}")
        asker = NotingAsker(self._asker)
        try:
            value = await _ask(asker, operation, parameters)
        except RefusedError as refused:
            if refused.status == HTTPStatus.NOT_FOUND and asker.missing:
                numbers, seconds = _numbers(asker.missing), f"{ANSWER_SECONDS:g} s"
                error = f"{refused}; worker {numbers} did not answer within {seconds}, and may know it"
                raise RefusedError(503, error, headers=_lacking(asker.missing)) from None
            raise
        if operation.name == "statistics":
            value["api_errors"] = {str(status): count for status, count in self.errors.items()}
        status = 503 if operation.name == "ready" and not value["ready"] else 200
        return Response(await in_slices(encoded(value)), status=status, headers=_lacking(asker.missing))

    def _check_caller(self, headers: Mapping[bytes, bytes]) -> None:
        if self._token is None:
            check_site(headers)
        else:
            self._check_token(self._token, headers.get(b"authorization", b""))

    def _check_token(self, token: Secret, given: bytes) -> None:
        kind, _, said = given.partition(b" ")
        try:
            right = token.read().encode()
        except ConfigurationError as error:
            self._log.notice("admin token cannot be read", error=str(error))
            raise RefusedError(503, "the token of the edge cannot be read") from None
        same = hmac.compare_digest(said.strip(), right)  # takes as long for every token of one length
        if not (same and kind.lower() == b"bearer"):
            self._log.notice("admin token refused", given=bool(given))
            needed = [(b"www-authenticate", b'Bearer realm="trioedge"')]
            raise RefusedError(401, "send the token of the edge as Authorization: Bearer …", headers=needed)

    async def _refusal(self, refused: RefusedError, scope: Message) -> Response:
        self.errors[refused.status] += 1
        headers = [*refused.headers]
        if refused.status in (408, 413) and scope["http_version"].startswith("1"):
            headers.append((b"connection", b"close"))  # the rest of its body may still come
        return Response(await in_slices(encoded(refused.answer)), status=refused.status, headers=headers)


def _numbers(workers: set[int]) -> str:
    return ", ".join(map(str, sorted(workers)))


def _lacking(workers: set[int]) -> list[tuple[bytes, bytes]]:
    """Make the header that names the workers whose part an answer lacks, if there are any."""
    return [(MISSING.encode(), _numbers(workers).encode())] if workers else []


async def _ask(asker: EdgeAsker, operation: Operation, parameters: Parameters) -> Any:
    if operation.collect is not None:
        return await operation.collect(asker, parameters)
    assert operation.merge is not None, "the table has one of them"
    return operation.merge(await asker.ask(operation.name, parameters), parameters)


async def _until_left(receive: Receive, answer: trio.CancelScope) -> None:
    """Cancel an answer once its client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    answer.cancel()
