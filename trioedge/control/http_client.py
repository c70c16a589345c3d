"""A client for JSON over HTTP, for one server, with a limit on everything. The only module that imports httpx."""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import trio

from ..errors import EdgeError, quote

if TYPE_CHECKING:  # httpx takes a fifth of the time in which an edge starts, so it is imported where it is used
    import httpx

CONNECT_SECONDS: Final = 5.0

KEEP_ALIVE_SECONDS: Final = 4.0
"""An idle connection is kept for less than the 5 seconds after which many servers close it."""

MAX_ANSWER_BYTES: Final = 65_536
"""Of an answer that is one piece of JSON."""

Url: TypeAlias = "httpx.URL"


def parse_url(text: str) -> Url:
    """Parse a URL as the client will understand it.

    Raises:
        ValueError: the text is no URL.
    """
    import httpx

    try:
        return httpx.URL(text)
    except (httpx.InvalidURL, TypeError) as error:
        raise ValueError(str(error)) from None


class NoAnswerError(EdgeError):
    """A request got no answer, or an answer that breaks the contract; the message names the request and the reason."""


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
        self, url: Url, *, token: str | None = None, trust: ssl.SSLContext | None = None, read_seconds: float
    ) -> None:
        """Describe the server; nothing is opened before :meth:`open`.

        Args:
            url: of the server; a path is put before all routes.
            token: sent with every request, and never logged.
            trust: the certificates to trust; needed for ``https``.
            read_seconds: the longest wait for the next bytes of an answer.
        """
        self._base = url.copy_with(path=url.path.rstrip("/"))
        self.url = str(self._base)
        self._trust = trust
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "trioedge"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._read_seconds = read_seconds
        self._client: httpx.AsyncClient | None = None
        self._open_blocks = 0
        """Blocks of :meth:`open` that have not ended; the client is there while this is above 0."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Allow requests until the block ends.

        Blocks may overlap and share their connections, which are closed when the last block ends, also by a cancel.
        """
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=self._base,
                headers=self._headers,
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
        self, method: str, path: str, seconds: float, *, good: tuple[int, ...] = (200,), **more: Any
    ) -> AsyncIterator[Answer]:
        """Send a request and give the answer, whose body is received within the block.

        Args:
            method: ``GET``, for example.
            path: behind :attr:`url`.
            seconds: for the whole block, the body included.
            good: the status codes to accept.
            more: `params`, `headers` and `content`, as httpx takes them.

        Raises:
            NoAnswerError: there is no answer, or part of it is missing. An error of this class that the block raises is
                raised again with the name of the request before it.
        """
        import httpx

        asked = f"{method} {self.url}{path}"
        if self._client is None:
            raise NoAnswerError(f"{asked}: the client is not open")
        try:
            with trio.fail_after(seconds):
                async with self._client.stream(method, path, **more) as response:
                    if response.status_code not in good:
                        raise NoAnswerError(self._refusal(response.status_code))
                    async with _body(response) as chunks:
                        yield Answer(response.status_code, response.headers, chunks)
        except NoAnswerError as error:
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

    def _refusal(self, status: int) -> str:
        if status == 401:
            return "the token is refused" if "Authorization" in self._headers else "it wants a token"
        return f"status {status}"


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
