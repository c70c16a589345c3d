"""The devices of one edge in several workers: one table for all, and each worker's share of it."""

from typing import Protocol, runtime_checkable

from ..service import Service


@runtime_checkable
class PoolsDevices(Protocol):
    """The control plane of a worker, which answers for the device table of all workers together.

    Its `check_device` returns once there is a verdict for the worker. It checks devices and follows them also where the
    edge's own control plane does not.

    Attributes:
        pools_devices: whether the devices are told by another process because they really are checked there; if not,
            only their number is limited.
    """

    pools_devices: bool


@runtime_checkable
class DeviceShare(Protocol):
    """The device limit of one worker; it is a :class:`DeviceJudge` as well."""

    def refuse(self, service: Service, device: str, seconds: float, detail: str, /) -> None:
        """Cut the sessions of a device and refuse new ones for a moment; afterwards the device is unknown."""
