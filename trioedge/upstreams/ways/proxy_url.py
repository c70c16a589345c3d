"""The address of an upstream proxy, with its login: read from a URL, and never written with the login."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import attrs

from ...addresses.address import Address, parse_address
from ...errors import ConfigurationError, quote

SCHEMES: Final = ("socks5", "socks4", "http", "https")

_MEANT: Final[Mapping[str, str]] = {
    "socks5h": "write socks5://, and Via(…, remote_names=True)",
    "socks4a": "write socks4://, and Via(…, remote_names=True)",
    "socks": "write socks5:// or socks4://",
    "tcp": "write the protocol of the proxy, such as socks5://",
}

MAX_LOGIN_BYTES: Final = 255
"""Of a user and of a password: their lengths are one byte in SOCKS5 (RFC 1929)."""


@attrs.frozen(repr=False)
class ProxyUrl:
    """An upstream proxy.

    Attributes:
        scheme: ``socks5``, ``socks4``, ``http`` or ``https``.
        address: of the proxy.
        username: None for no login.
        password: None for none.
    """

    scheme: str
    address: Address
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        login = "" if self.username is None else "***@"
        return f"{self.scheme}://{login}{str(self.address).removeprefix('tcp://')}"

    __repr__ = __str__


def parse_proxy_url(url: object) -> ProxyUrl:
    """Read ``socks5://user:password@host:port``; user and password may have characters as ``%40``.

    Raises:
        ConfigurationError: names the fault, and no part of the login.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"Via({quote(url)}) must be the URL of a proxy, as in 'socks5://127.0.0.1:1080'")
    scheme, separator, rest = url.strip(" \t").partition("://")
    login, at, place = rest.rpartition("@")
    shown = f"{scheme}://{'***@' if at else ''}{place}" if separator else "the URL of a proxy"
    where = f"Via({shown!r})"
    if scheme not in SCHEMES or not separator:
        mend = _MEANT.get(scheme, f"it must begin with {', '.join(f'{each}://' for each in SCHEMES[:-1])} or https://")
        raise ConfigurationError(f"{where}: {mend}")
    text = f"tcp://{place.removesuffix('/')}"
    try:
        address = parse_address(text)
    except ConfigurationError as error:
        fault = str(error).removeprefix(f"address {text!r}").lstrip(": ")
        raise ConfigurationError(f"{where} {fault}, as in 'socks5://proxy.example:1080'") from None
    if not at:
        return ProxyUrl(scheme, address)
    username, colon, password = login.partition(":")
    found = ProxyUrl(scheme, address, unquote(username), unquote(password) if colon else None)
    if fault := _login_fault(found):
        raise ConfigurationError(f"{where}: {fault}")
    return found


def _login_fault(proxy: ProxyUrl) -> str:
    if not proxy.username:
        return "its login has no user"
    if proxy.scheme == "socks4":
        if proxy.password is not None:
            return "SOCKS4 knows a user and no password"
    elif not proxy.password:
        return "its login has no password"
    for name, value in (("user", proxy.username), ("password", proxy.password or "")):
        if not value.isascii() or not value.isprintable():
            return f"the {name} has characters that are not printable ASCII"
        if len(value) > MAX_LOGIN_BYTES:
            return f"the {name} has more than {MAX_LOGIN_BYTES} characters"
    if proxy.scheme in ("http", "https") and ":" in proxy.username:
        return "the user has a colon, which HTTP cannot say (RFC 7617)"
    return ""
