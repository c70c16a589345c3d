"""Checks of the arguments of `Otel`: each fault is one line with its mend."""

import ipaddress
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import trioedge as te

PATH = "/v1/traces"
"""The path of traces in OTLP over HTTP."""


def refuse(name: str, value: object, mend: str) -> NoReturn:
    """Raise the error of an argument.

    Raises:
        ConfigurationError: always.
    """
    shown = repr(value)
    shown = shown if len(shown) <= 200 else f"{shown[:200]}…"
    raise te.ConfigurationError(f"Otel({name}={shown}) {mend}")


def check_endpoint(endpoint: Any) -> str:
    """Give the URL that spans are sent to; a URL without a path gets that of OTLP."""
    if endpoint == "":
        return ""
    mend = "must be a URL as in 'http://127.0.0.1:4318/v1/traces'"
    if not isinstance(endpoint, str):
        refuse("endpoint", endpoint, mend)
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        refuse("endpoint", endpoint, mend)
    if parts.username is not None or parts.password is not None:
        raise te.ConfigurationError("Otel(endpoint=…) has a user or a password: give the secret as token=te.Secret(…)")
    if parts.scheme not in ("http", "https") or not host or not endpoint.isascii() or not endpoint.isprintable():
        refuse("endpoint", endpoint, mend)
    return endpoint if parts.path.strip("/") else f"{endpoint.rstrip('/')}{PATH}"


def check_headers(headers: Any) -> dict[str, str]:
    """Give the headers of each request."""
    if headers is None:
        return {}
    plain = isinstance(headers, Mapping) and all(
        isinstance(name, str) and isinstance(value, str) and name and f"{name}{value}".isprintable()
        for name, value in headers.items()
    )
    if not plain:  # a value may be a secret, so none is shown
        raise te.ConfigurationError("Otel(headers=…) must be texts by name, as in {'x-tenant': 'shop'}")
    return dict(headers)


def check_token(token: Any, endpoint: str) -> te.Secret | None:
    """Give the token; one that would go over the network in clear text is refused."""
    if token is None:
        return None
    if not isinstance(token, te.Secret):
        raise te.ConfigurationError("Otel(token=…) must be a te.Secret, as in te.Secret(env='OTLP_TOKEN')")
    if endpoint.startswith("http:") and not _is_local(urlsplit(endpoint).hostname or ""):
        raise te.ConfigurationError("Otel(token=…) would be sent in clear text: use an endpoint of https")
    return token


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
