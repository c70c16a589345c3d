"""Checks of the arguments of the recipe; each message has one line that says how to mend it."""

import ipaddress
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import trioedge as te

from .errors import LapiError

MAX_KEY_LETTERS: Final = 1024

_KEY_RULE: Final = f"must be printable ASCII without blanks, at most {MAX_KEY_LETTERS} letters"


def check_types(types: Any) -> tuple[str, ...]:
    """Refuse what is no list of types of decisions; return them in lower case, each once."""
    texts = [each for each in types if isinstance(each, str) and each] if isinstance(types, (list, tuple)) else []
    if not texts or len(texts) != len(types):
        raise te.ConfigurationError(f"CrowdSec(types={types!r}) must be a list of types, as in ['ban', 'captcha']")
    return tuple(dict.fromkeys(each.lower() for each in texts))


def check_url(url: Any, plain_http: bool) -> str:
    """Refuse a URL that is wrong, or that would send the key over a network in clear text; return it as a base."""
    if "@" in str(url):
        raise te.ConfigurationError("CrowdSec(url=...) has a user in it: the key goes into key=")
    wrong = f"CrowdSec(url={url!r})"
    try:
        parts = urlsplit(str(url))
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise te.ConfigurationError(f"{wrong} is no URL: {error}") from None
    strange = parts.query or parts.fragment or port == 0 or not str(url).isascii() or not str(url).isprintable()
    if not isinstance(url, str) or not host or parts.scheme not in ("http", "https") or strange or " " in url:
        raise te.ConfigurationError(f"{wrong} must be like 'http://127.0.0.1:8080' or 'https://crowdsec.example'")
    if parts.scheme == "http" and not plain_http and not _on_this_machine(host):
        raise te.ConfigurationError(
            f"{wrong} would send the key in clear text: use https://, or plain_http=True on a network of your own"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_key(key: Any) -> Callable[[], str]:
    """Refuse what is no key; return a function that gives the key of a request, and raises LapiError without one."""
    if isinstance(key, te.Secret):
        key.read()  # a variable that is not set is a fault now, and not with the first request
        return lambda: _read(key)
    if not _is_key(key):
        raise te.ConfigurationError(f"CrowdSec(key=...) {_KEY_RULE}: `cscli bouncers add NAME` prints one")
    return lambda: str(key)


def _read(secret: te.Secret) -> str:
    try:
        key = secret.read().strip()
    except te.ConfigurationError as error:
        raise LapiError(str(error)) from None
    if not _is_key(key):
        raise LapiError(f"the key in {secret} {_KEY_RULE}")
    return key


def _is_key(key: Any) -> bool:
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_LETTERS:
        return False
    return key.isascii() and key.isprintable() and " " not in key
