"""Pages of other sites: a browser that shows one must not ask the API for it, where no token keeps it out.

Where a local socket is forwarded to a port, as ``ssh -L`` does, a page of any site may send requests to that port from
the browser of the same machine. It cannot read an answer of another site, but what changes something needs no answer;
and a site whose name leads to 127.0.0.1 is the same site to the browser.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from ..refusals import RefusedError

FORBIDDEN: Final = 403


def check_site(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a request of another site's page; a client that is no browser sends none of what is checked.

    Args:
        headers: of the request.

    Raises:
        RefusedError: 403; its origin is not the host that it asks, or the host is the name of a site.
    """
    host = headers.get(b"host", b"").decode("latin-1")
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1").partition("://")[2] != host:
        raise RefusedError(FORBIDDEN, "a page of another site may not ask this API")
    name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if "." in name and not _is_address(name):
        raise RefusedError(
            FORBIDDEN, "ask for localhost or an address, not for the name of a site; or give the API a token"
        )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
