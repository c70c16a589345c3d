"""A client for JSON over HTTP, for one server, with a limit on everything. The only module that imports httpx."""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from math import inf
from time import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import trio

from ..errors import EdgeError, quote
from .renewal import TokenError
from .retry_after import STATUSES, wait_seconds

if TYPE_CHECKING:  # httpx takes a fifth of the time in which an edge starts, so it is imported where it is used
    import httpx

CONNECT_SECONDS: Final = 5.0

KEEP_ALIVE_SECONDS: Final = 4.0
"""An idle connection is kept for less than the 5 seconds after which many servers close it."""

MAX_ANSWER_BYTES: Final = 65_536
"""Of an answer that is one piece of JSON."""

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

Url: TypeAlias = "httpx.URL"


def parse_url(text: str) -> Url:
    """Parse a URL as the client will understand it.

    Raises:
        ValueError: the text is no URL.
    """
    import httpx

    if not isinstance(text, (str, httpx.URL)):
        raise ValueError(f"{quote(text)} is not text")
    try:
        return httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from None


class NoAnswerError(EdgeError):
    """A request got no answer, or an answer that breaks the contract; the message names the request and the reason.

    Attributes:
        retry_seconds: how long the server asks to wait, 0 to 300; requests of the same path fail until then.
    """

    def __init__(self, message: str, retry_seconds: float = 0.0) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(message)


@attrs.frozen
class Answer:
    """A server's answer to one request.

    Attributes:
        status: the status code.
        headers: by name, in any case.
        chunks: the body, in pieces as they arrive.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class HttpClient:
    """Sends requests to one server. Redirects, proxies of the environment and compressed answers are not used.

    There are at most as many connections as requests under way at once; the caller limits these.

    Attributes:
        url: of the server, with the path before all routes.
    """

    def __init__(
        self,
        url: Url,
        *,
        token: str | Callable[[], str] | None = None,
        trust: ssl.SSLContext | None = None,
        read_seconds: float,
    ) -> None:
        """Describe the server; nothing is opened before :meth:`open`.

        Args:
            url: of the server; a path is put before all routes.
            token: sent with every request, and never logged; or a function that returns the one of a request, and
                raises :class:`~.renewal.TokenError` if there is none.
            trust: the certificates to trust; needed for ``https``.
            read_seconds: the longest wait for the next bytes of an answer.
        """
        self._base = url.copy_with(path=url.path.rstrip("/"))
        self.url = str(self._base)
        self._trust = trust
        self._token = (lambda: token) if isinstance(token, str) else token
        self._read_seconds = read_seconds
        self._client: httpx.AsyncClient | None = None
        self._open_blocks = 0
        """Blocks of :meth:`open` that have not ended; the client is there while this is above 0."""
        self._not_before: dict[str, float] = {}
        """By path, until when the server asked for no more requests, in seconds of Trio's clock."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Allow requests until the block ends.

        Blocks may overlap and share their connections, which are closed when the last block ends, also by a cancel.
        """
        import httpx

        if self._client is None:
            self._not_before.clear()  # these times were of the clock of an earlier run
            self._client = httpx.AsyncClient(
                base_url=self._base,
                headers={"Accept-Encoding": "identity", "User-Agent": "trioedge"},
                verify=self._trust or False,  # False is for http:// alone, because redirects are not followed
                timeout=httpx.Timeout(CONNECT_SECONDS, read=self._read_seconds),
                limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
                trust_env=False,
            )
        self._open_blocks += 1
        try:
            yield
        finally:
            self._open_blocks -= 1
            if self._open_blocks == 0:
                client, self._client = self._client, None
                await client.aclose()

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        path: str,
        seconds: float,
        *,
        good: tuple[int, ...] = (200,),
        headers: Mapping[str, str] = NO_HEADERS,
        **more: Any,
    ) -> AsyncIterator[Answer]:
        """Send a request and give the answer, whose body is received within the block.

        Args:
            method: ``GET``, for example.
            path: behind :attr:`url`.
            seconds: for the whole block, the body included.
            good: the status codes to accept.
            headers: of this request.
            more: `params` and `content`, as httpx takes them.

        Raises:
            NoAnswerError: there is no answer, or part of it is missing; or the server has asked for no request of this
                path before a time that has not come. An error of this class that the block raises is
                raised again with the name of the request before it.
        """
        import httpx

        asked = f"{method} {self.url}{path}"
        if self._client is None:
            raise NoAnswerError(f"{asked}: the client is not open")
        if (left := self._not_before.get(path, -inf) - trio.current_time()) > 0:
            raise NoAnswerError(f"{asked}: the server asks to wait for {left:.3g} s", left)
        try:
            if self._token is not None:
                headers = {**headers, "Authorization": f"Bearer {self._token()}"}
            with trio.fail_after(seconds):
                async with self._client.stream(method, path, headers=headers, **more) as response:
                    if response.status_code not in good:
                        raise self._refusal(response, path)
                    async with _body(response) as chunks:
                        yield Answer(response.status_code, response.headers, chunks)
        except NoAnswerError as error:
            raise NoAnswerError(f"{asked}: {error}", error.retry_seconds) from None
        except TokenError as error:
            raise NoAnswerError(f"{asked}: {error}") from None
        except (httpx.TimeoutException, trio.TooSlowError):
            raise NoAnswerError(f"{asked}: no answer in time") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise NoAnswerError(f"{asked}: {_why(error)}") from None

    async def post(self, path: str, seconds: float, body: bytes) -> Any:
        """Send JSON and give the answer, JSON of at most 65,536 bytes; raises as :meth:`ask` does."""
        headers = {"Content-Type": "application/json"}
        async with self.ask("POST", path, seconds, content=body, headers=headers) as answer:
            text = bytearray()
            async for chunk in answer.chunks:
                text += chunk
                if len(text) > MAX_ANSWER_BYTES:
                    raise NoAnswerError(f"more than {MAX_ANSWER_BYTES:,} bytes")
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                raise NoAnswerError(f"not JSON: {quote(bytes(text))}") from None

    def _refusal(self, response: "httpx.Response", path: str) -> NoAnswerError:
        """Describe an answer that is not good, and note how long the server asks to be left alone."""
        status, headers = response.status_code, response.headers
        if status == 401:
            return NoAnswerError("it wants a token" if self._token is None else "the token is refused")
        seconds = 0.0
        if status in STATUSES:
            seconds = wait_seconds(headers.get("Retry-After", ""), headers.get("Date", ""), time())
            self._not_before[path] = trio.current_time() + seconds
        return NoAnswerError(f"status {status}" + (f": it asks to wait for {seconds:.3g} s" * (seconds > 0)), seconds)


@asynccontextmanager
async def _body(response: "httpx.Response") -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the body in pieces, and close it if the block fails.

    httpx nests three generators for a body, and to close the outer one leaves the inner ones open. A cancel is raised
    in the innermost, and so ends all three.
    """
    chunks = response.aiter_raw()
    try:
        yield chunks
    except BaseException:
        with trio.CancelScope() as scope:
            scope.cancel()
            async for _ in chunks:
                pass
        raise


def _why(error: BaseException) -> str:
    """Give the message of an exception, or if it is empty that of its cause."""
    cause: BaseException | None = error
    while cause is not None:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
