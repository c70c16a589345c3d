"""The configuration of the resolver, `/etc/resolv.conf`, as libc reads it (resolv.conf(5)).

A line or a word that it does not know is skipped, and the rest counts.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from ..addresses.address import packed_ip

LOCAL_SERVER: Final = "127.0.0.1"
"""The server of a file that names none."""

MAX_NDOTS: Final = 15
MAX_ATTEMPTS: Final = 5
MAX_TIMEOUT: Final = 30
"""Larger numbers of a file count as these, as in libc."""


@attrs.frozen(slots=True)
class ResolvConf:
    """What a file says; each default is libc's.

    Attributes:
        servers: IP addresses, an IPv6 one maybe with a scope; at least one, in the order in which to query them.
        search: the domains in which a short name is searched.
        ndots: a name with at least so many dots is queried as it is before it is searched.
        timeout: seconds to wait for one server, at least 1.
        attempts: rounds over all servers, at least 1; None if the file says nothing.
        rotate: whether queries are spread over the servers.
        edns0: whether queries have the EDNS extension (RFC 6891).
        use_tcp: whether queries go over TCP from the start (``use-vc``).
    """

    servers: tuple[str, ...] = (LOCAL_SERVER,)
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: int = 5
    attempts: int | None = None
    rotate: bool = False
    edns0: bool = False
    use_tcp: bool = False


def parse_resolv_conf(text: bytes) -> ResolvConf:
    """Read a file. Never raises: comments may be in any encoding, and what is no configuration is skipped."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: dict[str, int | bool] = {}
    for line in text.decode("utf-8", errors="replace").split("\n"):
        if line[:1] in ("#", ";"):
            continue
        keyword, *words = line.split() or [""]
        if keyword == "nameserver" and words and packed_ip(words[0]) is not None:
            servers.append(words[0])
        elif keyword == "domain" and words:
            search = _domains(words[:1])
        elif keyword == "search":
            search = _domains(words)
        elif keyword == "options":
            for word in words:
                options |= _option(word)
    return ResolvConf(tuple(servers) or (LOCAL_SERVER,), search, **options)  # type: ignore[arg-type]  # by name


def _domains(words: Iterable[str]) -> tuple[str, ...]:
    """Keep the words that can be domains, none with an escape; a comment at the end of the line ends them."""
    domains: list[str] = []
    for word in words:
        if word[0] in "#;":
            break
        labels = word.removesuffix(".").split(".")
        plain = word.isascii() and "\\" not in word and len(word) <= 253
        if word == "." or (plain and all(0 < len(label) <= 63 for label in labels)):
            domains.append(word)
    return tuple(domains)


def _option(word: str) -> dict[str, int | bool]:
    name, _, digits = word.partition(":")
    if word in ("rotate", "edns0"):
        return {word: True}
    if word == "use-vc":
        return {"use_tcp": True}
    if not digits.isascii() or not digits.isdecimal():
        return {}
    number = int(digits[:6])
    if name == "ndots":
        return {"ndots": min(number, MAX_NDOTS)}
    if name == "timeout":
        return {"timeout": min(max(number, 1), MAX_TIMEOUT)}
    if name == "attempts":
        return {"attempts": min(max(number, 1), MAX_ATTEMPTS)}
    return {}
