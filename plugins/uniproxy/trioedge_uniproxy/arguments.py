"""Checks of the arguments of `UniProxyControl`; each fault is one line that names the argument and its cure."""

import ipaddress
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import trioedge as te

OWNER: Final = "UniProxyControl"


def refuse(argument: str, rule: str) -> te.ConfigurationError:
    """Make the error of an argument: ``UniProxyControl(node_id=0) must be …``."""
    return te.ConfigurationError(f"{OWNER}({argument}) {rule}")


def check_url(url: Any, *, plain_http: bool) -> str:
    """Check the address of a panel, and give it without a slash at its end.

    Raises:
        ConfigurationError: it is none, or the token would go over a network in clear text.
    """
    like = "must be like 'https://panel.example' or 'https://panel.example/path'"
    try:
        parts = urlsplit(url) if isinstance(url, str) else SplitResult("", "", "", "", "")
        whole = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise refuse("url=…", like)
    if parts.username is not None or parts.query or parts.fragment or "?" in url or "#" in url:
        raise refuse("url=…", f"{like}, without a user and a query: the token goes into token=")
    if parts.scheme == "http" and not plain_http and not _on_this_machine(str(parts.hostname)):
        raise refuse(
            f"{url!r}", "would send the token in clear text: use https://, or plain_http=True if the network is yours"
        )
    return str(url).rstrip("/")


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_token(token: Any) -> str | te.Secret:
    """Check a token, which is never quoted."""
    if isinstance(token, te.Secret) or (isinstance(token, str) and token and token.isprintable()):
        return token
    raise refuse("token=…", 'must be the token of the panel, or its place: te.Secret(file="…")')


def check_text(name: str, value: Any, *, empty: bool = False) -> str:
    """Check a word of the query."""
    if isinstance(value, str) and value.isprintable() and " " not in value and (value or empty):
        return value
    raise refuse(f"{name}={value!r}", "must be text without blanks")


def check_node_id(node_id: Any) -> str:
    """Check the number of a node, which a panel may also call by a name."""
    if isinstance(node_id, int) and not isinstance(node_id, bool) and node_id > 0:
        return str(node_id)
    if isinstance(node_id, str) and node_id and node_id.isprintable() and " " not in node_id:
        return node_id
    raise refuse(f"node_id={node_id!r}", "must be the number of the node, which the panel's list of nodes shows")


def check_path(path: Any) -> str:
    """Check the path of the interface."""
    if isinstance(path, str) and path.startswith("/") and path.isprintable() and not set(" ?#") & set(path):
        return path.rstrip("/")
    raise refuse(f"path={path!r}", "must be the path of the interface, as in '/api/v1/server/UniProxy'")
