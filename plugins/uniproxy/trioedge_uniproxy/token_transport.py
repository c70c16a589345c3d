"""Connections to the panel that put the token into the query of each request, beneath all that is logged."""

import ssl
from collections.abc import Callable

import httpx


class TokenTransport(httpx.AsyncHTTPTransport):
    """Sends each request with the token, of which neither the request nor an exception has a trace."""

    def __init__(self, verify: ssl.SSLContext | bool, token: Callable[[], str]) -> None:
        """Open nothing yet.

        Args:
            verify: the certificates to trust; False for ``http`` alone.
            token: gives the token of a request.
        """
        super().__init__(verify=verify, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
        self._token = token

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a copy of the request whose query has the token.

        Raises:
            ConfigurationError: there is no token now.
        """
        return await super().handle_async_request(
            httpx.Request(
                request.method,
                request.url.copy_merge_params({"token": self._token()}),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )
