"""JSON over HTTP to one place, with a limit on everything. All that knows of httpx is in here."""

import ipaddress
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from ..errors import ConfigurationError, EdgeError

if TYPE_CHECKING:  # a fifth of the time in which an edge starts, so it is imported by whoever needs it
    import httpx

CONNECT_SECONDS: Final = 5.0

KEEP_ALIVE_SECONDS: Final = 4.0
"""An idle connection is kept for less than the 5 seconds after which many servers close it."""

MAX_ANSWER_BYTES: Final = 65_536
"""Of an answer that is one piece of JSON."""


class NoAnswerError(EdgeError):
    """There was no answer, or none that may be given; says to what and why."""


@attrs.frozen
class Answer:
    """What a server answers.

    Attributes:
        status: of HTTP.
        headers: by name, whatever its case.
        chunks: the body as it comes.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class HttpClient:
    """Asks one server. Redirects, proxies of the environment and compressed answers are not used.

    Attributes:
        url: of the server, with the path before all routes.
    """

    def __init__(
        self,
        owner: str,
        url: str,
        *,
        token: str | None,
        ca: str | os.PathLike[str] | None,
        plain_http: bool,
        connections: int,
        read_seconds: float,
    ) -> None:
        """Describe where the server is; nothing is opened before :meth:`open`.

        Args:
            owner: whose arguments these are, for messages.
            url: ``https://control.example``, and a path if it does not stand at the root.
            token: shown with each request, and to nobody else.
            ca: a file of certificates in PEM, to trust instead of those that the system does.
            plain_http: allow ``http://`` to other machines than this one; then without a token.
            connections: open at once.
            read_seconds: until the next bytes come.

        Raises:
            ConfigurationError: what cannot be, and how to mend it.
        """
        self._base = _read_url(owner, url, token, plain_http)
        self.url = str(self._base)
        self._context = _trust(owner, ca) if self._base.scheme == "https" else None
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "trioedge"}
        if token is not None:
            if not (token.isascii() and token.isprintable() and token and " " not in token):
                raise ConfigurationError(f"{owner}(token=...) must be printable ASCII without spaces")
            self._headers["Authorization"] = f"Bearer {token}"
        self._connections = connections
        self._read_seconds = read_seconds
        self._client: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"{self.url!r}, token=..." if "Authorization" in self._headers else repr(self.url)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Allow requests until the block ends; every connection is closed then."""
        import httpx

        async with httpx.AsyncClient(
            base_url=self._base,
            headers=self._headers,
            verify=self._context or False,  # there is no context for http:// alone, and redirects are not followed
            timeout=httpx.Timeout(CONNECT_SECONDS, read=self._read_seconds),
            limits=httpx.Limits(max_connections=self._connections, keepalive_expiry=KEEP_ALIVE_SECONDS),
            trust_env=False,
        ) as self._client:
            try:
                yield
            finally:
                self._client = None

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, seconds: float, *, good: tuple[int, ...] = (200,), **more: Any
    ) -> AsyncIterator[Answer]:
        """Send a request and give what is answered, its body still to come.

        Args:
            method: of HTTP.
            path: behind :attr:`url`.
            seconds: for all of it, the body included.
            good: the statuses that are answers.
            more: `params`, `headers` and `content`, as httpx takes them.

        Raises:
            NoAnswerError: there is no answer, or not all of it. One that is raised in the block is told what was asked.
        """
        import httpx

        asked = f"{method} {self.url}{path}"
        if self._client is None:
            raise NoAnswerError(f"{asked}: nobody may ask now")
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
        """Send JSON, and give the JSON that answers it, of 65,536 bytes at most; raises as :meth:`ask` does."""
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
                raise NoAnswerError(f"not JSON: {short(bytes(text))}") from None

    def _refusal(self, status: int) -> str:
        if status == 401:
            return "the token is refused" if "Authorization" in self._headers else "it wants a token"
        return f"status {status}"


def _read_url(owner: str, url: str, token: str | None, plain_http: bool) -> "httpx.URL":
    """Read the URL, and see that nobody on the way can read along."""
    import httpx

    try:
        base = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigurationError(f"{owner}(url=...) is no URL: {error}") from None
    if base.userinfo:
        raise ConfigurationError(f"{owner}(url=...) has a user in it: a password goes into token=")
    strange = base.query or base.fragment or not 0 < (base.port or 1) < 65536
    if base.scheme not in ("https", "http") or not base.host or strange:
        raise ConfigurationError(f"{owner}({url!r}) must be like 'https://control.example' or '.../path'")
    if base.scheme == "http" and not _on_this_machine(base.host):
        if token is not None:
            raise ConfigurationError(f"{owner}({url!r}) would show the token to everybody on the way: use https://")
        if not plain_http:
            raise ConfigurationError(
                f"{owner}({url!r}) lets everybody on the way change policies: use https://, or say plain_http=True"
            )
    return base.copy_with(path=base.path.rstrip("/"))


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(owner: str, ca: str | os.PathLike[str] | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigurationError(f"{owner}(ca={ca!r}) cannot be read: {error}") from None


@asynccontextmanager
async def _body(response: "httpx.Response") -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the body as it comes.

    It is a generator of a generator of a generator; left early, only the first would be closed. A cancel reaches the
    last one first, and ends them all.
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
    """Give the words of an exception, or of what caused it if it has none of its own."""
    cause: BaseException | None = error
    while cause is not None:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def short(answer: object) -> str:
    """Quote an answer, or its beginning."""
    text = repr(answer)
    return text if len(text) <= 100 else f"{text[:100]}..."
