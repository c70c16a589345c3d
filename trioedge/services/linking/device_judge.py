"""The part of a chain that judges devices, as the link of the control plane sees it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..service import Service

if TYPE_CHECKING:
    from ..control_plane import DeviceVerdict
    from ..device_rules import DeviceRules


class DeviceJudge(Protocol):
    """A live stage that limits devices. It calls :meth:`EdgeContext.judge_devices` when it is opened.

    None of these may wait. Each may be called while the control plane is notified that a device came or went.
    """

    def judge(self, service: Service, device: str, verdict: "DeviceVerdict", /) -> None:
        """Apply a verdict to the live sessions of a device and to those that come.

        Args:
            service: a service that is not removed.
            device: its name, at most 255 letters.
            verdict: one whose fields have the types that they should have.
        """

    def rules(self, service: Service | None, /) -> "DeviceRules":
        """Return the rules that apply to a service now; with None, those of a service whose policy sets none."""

    def online(self, service: Service, /) -> Sequence[str]:
        """Return the devices of a service that have a live session, oldest first."""
