"""Requests to CrowdSec's local API. The only module that imports httpx, and not before an edge starts."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from .answer import read_answer
from .errors import LapiError

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS: Final = 5.0

READ_SECONDS: Final = 30.0
"""For the next bytes of an answer; the local API asks its database before the first."""

ANSWER_SECONDS: Final = 120.0
"""For a whole answer. One of 100,000 decisions takes about a second to apply on an idle loop."""

KEEP_ALIVE_SECONDS: Final = 30.0
"""For how long an idle connection is kept for the next poll."""

USER_AGENT: Final = "trioedge-crowdsec/v0.1.0"
"""The type and version that ``cscli bouncers list`` shows."""


class Lapi:
    """The local API of CrowdSec at one address.

    Redirects, proxies of the environment and compressed answers are not used. The key is in no message.
    """

    def __init__(self, url: str, key: Callable[[], str], trust: ssl.SSLContext | None) -> None:
        """Describe the local API; nothing is opened before :meth:`open`.

        Args:
            url: without the path of the route, and without a slash at its end.
            key: gives the key of each request; raises ConfigurationError while there is none.
            trust: the certificates to trust; None for ``http``.
        """
        self.url = url
        self._key = key
        self._trust = trust
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Allow requests until the block ends; then the connection is closed, also by a cancel."""
        import httpx

        async with httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            timeout=httpx.Timeout(CONNECT_SECONDS, read=READ_SECONDS),
            transport=self.transport(),
            trust_env=False,
        ) as self._client:
            yield

    def transport(self) -> "httpx.AsyncBaseTransport":
        """Make the connections of a client."""
        import httpx

        return httpx.AsyncHTTPTransport(
            verify=self._trust or False,  # False is for http:// alone, because redirects are not followed
            limits=httpx.Limits(max_connections=1, keepalive_expiry=KEEP_ALIVE_SECONDS),
            trust_env=False,
        )

    async def ask(self, take: Mapping[str, Callable[[Any], object]], *, startup: bool) -> None:
        """Ask for decisions, and hand over each as it arrives.

        After an error and after a cancel, the decisions that came before it have been handed over.

        Args:
            take: the function of each list, ``new`` and ``deleted``; it must not wait.
            startup: whether to ask for all decisions in force, or for the changes since the last request.

        Raises:
            LapiError: there is no answer, or not all of it within 120 s, or it is no answer of a local API.
        """
        import httpx

        if self._client is None:
            raise LapiError("the client is not open")
        # Without dedup=false, a local API gives the longest decision of an address only, and does not say so when that
        # one is deleted while a shorter one is in force.
        params = {"startup": "true" if startup else "false", "dedup": "false"}
        try:
            headers = {"X-Api-Key": self._key()}
            with trio.fail_after(ANSWER_SECONDS):
                async with self._client.stream(
                    "GET", f"{self.url}/v1/decisions/stream", params=params, headers=headers
                ) as response:
                    if response.status_code != 200:
                        raise LapiError(_refusal(response.status_code))
                    async with _body(response) as chunks:
                        await read_answer(chunks, take)
        except (httpx.TimeoutException, trio.TooSlowError):
            raise LapiError("no answer in time") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise LapiError(_why(error)) from None


def _refusal(status: int) -> str:
    if status in (401, 403):
        return f"it refuses the key (status {status}): make one with `cscli bouncers add NAME`"
    return f"status {status}"


@asynccontextmanager
async def _body(response: "httpx.Response") -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the body in pieces, and close it if the block fails.

    httpx has generators within generators for a body, and closing the outer one leaves the others open. A cancel begins
    in the innermost one and ends them all.
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
    """Give the message of an error, or where it has none that of its cause."""
    cause: BaseException | None = error
    while cause is not None:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
