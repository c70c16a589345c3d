"""Every exception trioedge raises, split by who is at fault.

EdgeError
├── ConfigurationError      what was written down cannot be; nothing was started
│   ├── ListenError         an address cannot be listened on
│   └── RulesError          source entries that cannot be, each with its fault
├── SnapshotError           a snapshot with faults, refused whole
└── UpstreamError           nobody answered; carries the session's Reason
"""

from .verdict import Reason


class EdgeError(Exception):
    """The root of trioedge's exceptions."""


class ConfigurationError(EdgeError):
    """What the user wrote cannot be; the message names what, where, and how to mend it."""


class ListenError(ConfigurationError):
    """An address cannot be listened on: in use, not ours, or not permitted."""


class UpstreamError(EdgeError):
    """No connection to the upstream.

    Attributes:
        reason: the :class:`Reason` with which the session ends.
        detail: the destination and the system's own words.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
