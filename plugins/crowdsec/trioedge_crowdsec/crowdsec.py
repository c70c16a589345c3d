"""The recipe."""

import os
import ssl
from collections.abc import Sequence
from typing import Final, Literal

import trioedge as te

from .arguments import check_key, check_types, check_url
from .lapi import Lapi
from .live import LiveCrowdSec

MIN_POLL_SECONDS: Final = 1.0
MAX_POLL_SECONDS: Final = 3600.0


class CrowdSec:
    """Reject sources that CrowdSec bans; a new ban cuts the live sessions of its sources.

    The stage is a bouncer in stream mode: a worker asks CrowdSec's local API for changes, and the decision answers from
    memory. Refusals have reason ``source`` and a detail like ``crowdsec: ban by crowdsecurity/ssh-bf``. No session
    waits for the local API. While it is down, bans stay until their durations are over; before its first answer
    `until_ready` decides. At most 500,000 bans are kept.

    About 0.2 µs a session, and 0.06 µs more for each prefix length that bans have.
    """

    kind = "decision"
    requires = ("source",)
    descriptors = 1

    def __init__(
        self,
        key: te.Secret | str,
        url: str = "http://127.0.0.1:8080",
        *,
        poll_seconds: float = 10.0,
        types: Sequence[str] = ("ban",),
        until_ready: Literal["accept", "reject"] = "accept",
        cut_live: bool = True,
        ca: str | os.PathLike[str] | None = None,
        plain_http: bool = False,
    ) -> None:
        """Describe the local API; nothing is opened before the edge serves.

        Args:
            key: the key of a bouncer, as ``cscli bouncers add NAME`` prints it; never logged. Each edge needs one of
                its own. A :class:`~trioedge.Secret` is read for each request.
            url: of the local API, with a path if its routes are below one.
            poll_seconds: seconds between two requests, 1 to 3600.
            types: the types of decisions that are refused, such as ``ban`` and ``captcha``.
            until_ready: what happens to sessions before the first answer, ``accept`` or ``reject``.
            cut_live: whether a new ban cuts the live sessions of its sources.
            ca: a file of PEM certificates to trust in place of the system's, read at the start of each run.
            plain_http: allow ``http://`` to other machines than this one. Every machine on the way can read the key.

        Raises:
            ConfigurationError: an argument is wrong; the message says how to mend it.
        """
        te.check_number("CrowdSec", "poll_seconds", poll_seconds, minimum=MIN_POLL_SECONDS, maximum=MAX_POLL_SECONDS)
        te.check_choice("CrowdSec", "until_ready", until_ready, ("accept", "reject"))
        te.check_flag("CrowdSec", "cut_live", cut_live)
        te.check_flag("CrowdSec", "plain_http", plain_http)
        self._key = check_key(key)
        self._url = check_url(url, plain_http)
        self._poll_seconds = float(poll_seconds)
        self._types = check_types(types)
        self._until_ready = until_ready
        self._cut_live = cut_live
        self._ca = ca
        if ca is not None:
            if self._url.startswith("http:"):
                raise te.ConfigurationError(f"CrowdSec(ca={str(ca)!r}) is for https://: leave it out, or change url=")
            self._trust()  # a file that cannot be read is a fault now

    def __repr__(self) -> str:
        return f"CrowdSec(url={self._url!r}, types={list(self._types)})"

    def open(self, context: te.EdgeContext) -> LiveCrowdSec:
        """Open the bans of one run of an edge; there are none yet."""
        return LiveCrowdSec(
            context,
            self.lapi(),
            poll_seconds=self._poll_seconds,
            types=self._types,
            accept_until_ready=self._until_ready == "accept",
            cut_live=self._cut_live,
        )

    def lapi(self) -> Lapi:
        """Make the client of one run; it opens nothing yet."""
        import httpx  # noqa: F401 - its import takes a tenth of a second, which the loop does not have later

        return Lapi(self._url, self._key, self._trust() if self._url.startswith("https:") else None)

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca)
        except (OSError, TypeError, ValueError) as error:
            raise te.ConfigurationError(f"CrowdSec(ca={str(self._ca)!r}) cannot be read: {error}") from None
