"""What goes well with the panel and what does not, as the edge's log and its state of the control plane say it."""

from typing import Final

import trioedge as te

from .errors import PanelError

OPTIONAL: Final = ("alive", "alivelist", "status")
"""Requests that older panels do not know; they answer 404, and are not asked again."""


class Health:
    """The health of one run.

    Attributes:
        link: of the edge.
    """

    def __init__(self, link: te.Link) -> None:
        """Begin without errors."""
        self.link = link
        self._errors: dict[str, str] = {}
        self._lacking: set[str] = set()

    def good(self, what: str) -> None:
        """Note that a request went well; the control plane answers again once all do."""
        self._errors.pop(what, None)
        if not self._errors:
            self.link.reached()

    def bad(self, what: str, error: Exception | str) -> None:
        """Note that a request went wrong, or that the panel does not know it."""
        if what in OPTIONAL and isinstance(error, PanelError) and error.status == 404:
            self._lacking.add(what)
            self.good(what)
            return
        self._errors[what] = str(error)
        self.link.failed(str(error))

    def lacks(self, what: str) -> bool:
        """Return whether the panel does not know a request."""
        return what in self._lacking
