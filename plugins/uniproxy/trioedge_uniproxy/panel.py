"""Requests to the panel. The only module that imports httpx, and not before an edge starts.

The token is in the query of every request, as UniProxy wants it. httpx writes URLs into its log and into exceptions, so
the token is put in beneath it, by a transport: above that, no URL has it.
"""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
import trioedge as te

from .errors import PanelError, shown

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS: Final = 5.0

MAX_USER_BYTES: Final = 33_554_432
"""Of the answer with all users: 32 MiB."""

MAX_BYTES: Final = 1_048_576
"""Of every other answer."""

_NOT_TAKEN: Final = frozenset({503, *range(300, 500)})
"""Statuses of a request that the panel has not acted on: refused, not found, moved, or closed for maintenance."""


@attrs.define
class Delivery:
    """Whether a request may have had an effect.

    Attributes:
        possible: False once it is certain that the panel has not acted on it: there was no connection, or the panel
            has refused it.
    """

    possible: bool = True


@attrs.frozen
class Answer:
    """A good answer.

    Attributes:
        body: bytes.
        etag: names this state, in ASCII; empty if the panel gave none.
    """

    body: bytes
    etag: str


class Panel:
    """The panel at one address, for one node.

    Redirects, proxies of the environment and compressed answers are not used, and each request has a connection of its
    own: on one that the panel closes just then, it would be unknown whether a push has been counted.
    """

    def __init__(
        self, url: str, token: Callable[[], str], query: Mapping[str, str], trust: Callable[[], ssl.SSLContext],
        seconds: float,
    ) -> None:  # fmt: skip
        """Describe the panel; nothing is opened before :meth:`open`.

        Args:
            url: with the path of the interface.
            token: gives the token of each request; raises ConfigurationError while there is none.
            query: beside the token.
            trust: makes the certificates to trust; called for ``https``.
            seconds: the time limit of a request with its answer.
        """
        self.url = url
        self._token = token
        self._query = query
        self._trust = trust
        self._seconds = seconds
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Allow requests until the block ends; then connections are closed, also by a cancel.

        Raises:
            ConfigurationError: the certificates to trust cannot be read.
        """
        import httpx

        from .token_transport import TokenTransport

        verify: ssl.SSLContext | bool = self._trust() if self.url.startswith("https:") else False
        async with httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", "User-Agent": "trioedge-uniproxy"},
            timeout=httpx.Timeout(self._seconds, connect=min(CONNECT_SECONDS, self._seconds / 3)),
            transport=TokenTransport(verify, self._token),
            trust_env=False,
        ) as self._client:
            try:
                yield
            finally:
                self._client = None

    async def get(self, what: str, etag: str = "", *, max_bytes: int = MAX_BYTES) -> Answer | None:
        """Ask for something.

        Args:
            what: ``user``, for example.
            etag: of the last answer.
            max_bytes: of the answer; a longer one is refused.

        Returns:
            The answer; None if nothing has changed since the one that `etag` names.

        Raises:
            PanelError: there is no good answer.
        """
        headers = {"If-None-Match": etag} if etag else {}
        status, answer = await self._ask("GET", what, Delivery(), max_bytes, headers=headers)
        if status == 304 and etag:
            return None
        if status != 200:
            raise self._refusal("GET", what, status, answer.body)
        return answer

    async def post(self, what: str, body: object, delivery: Delivery | None = None) -> None:
        """Tell the panel something.

        Args:
            what: ``push``, for example.
            body: sent as JSON.
            delivery: is told whether the request may have had an effect, also where this raises or is cancelled.

        Raises:
            PanelError: the panel has not acknowledged it.
        """
        delivery = delivery or Delivery()
        headers = {"Content-Type": "application/json"}
        content = json.dumps(body, separators=(",", ":")).encode()
        status, answer = await self._ask("POST", what, delivery, MAX_BYTES, headers=headers, content=content)
        if not 200 <= status < 300:
            if status in _NOT_TAKEN:
                delivery.possible = False
            raise self._refusal("POST", what, status, answer.body)

    async def _ask(self, method: str, what: str, delivery: Delivery, max_bytes: int, **more: Any) -> tuple[int, Answer]:
        import httpx

        asked = f"{method} {self.url}/{what}"
        if self._client is None:
            delivery.possible = False
            raise PanelError(f"{asked}: the edge is not running")
        try:
            with trio.fail_after(self._seconds):
                async with self._client.stream(method, f"{self.url}/{what}", params=self._query, **more) as response:
                    body = await _read(response, max_bytes)
                    etag = response.headers.get("ETag", "")  # no request can name one with other letters
                    return response.status_code, Answer(body, etag if etag.isascii() else "")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            delivery.possible = False
            raise PanelError(f"{asked}: no connection: {_why(error)}") from None
        except te.ConfigurationError as error:  # of the token
            delivery.possible = False
            raise PanelError(f"{asked}: {error}") from None
        except (httpx.TimeoutException, trio.TooSlowError):
            raise PanelError(f"{asked}: no answer within {self._seconds:g} s") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise PanelError(f"{asked}: {_why(error)}") from None
        except PanelError as error:
            raise PanelError(f"{asked}: {error}") from None

    def _refusal(self, method: str, what: str, status: int, body: bytes) -> PanelError:
        """Describe an answer that is not good, with the panel's own words where it has some."""
        try:
            said = json.loads(body).get("message")
        except (ValueError, RecursionError, AttributeError):
            said = None
        words = f": {shown(self._scrubbed(said))}" if isinstance(said, str) and said else ""
        return PanelError(f"{method} {self.url}/{what}: status {status}{words}", status)

    def _scrubbed(self, text: str) -> str:
        """Take the token out of what the panel says."""
        try:
            return text.replace(self._token(), "…")
        except te.ConfigurationError:
            return ""  # the token that was sent is not known any more


async def _read(response: "httpx.Response", max_bytes: int) -> bytes:
    """Read a whole body.

    Raises:
        PanelError: it has more bytes.
    """
    body = bytearray()
    chunks = response.aiter_raw()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            # httpx has generators within generators for a body, and closing the outer one leaves the others open. A
            # cancel begins in the innermost one and ends them all.
            with trio.CancelScope() as scope:
                scope.cancel()
                async for _ in chunks:
                    pass
            raise PanelError(f"more than {max_bytes:,} bytes")
    return bytes(body)


def _why(error: BaseException) -> str:
    """Give the message of an error, or where it has none that of its cause."""
    cause: BaseException | None = error
    while cause is not None:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
