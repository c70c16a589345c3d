"""Parts of a chain that list their devices."""

from collections.abc import Iterator

from trioedge.services.linking.device_facts import DeviceFacts, ListsDevices
from trioedge.services.service import Service


def test_a_part_that_lists_devices_is_known_by_its_method() -> None:
    class Lists:
        def known(self, service: Service, /) -> Iterator[DeviceFacts]:
            yield DeviceFacts("phone", "fresh", 1, 2.0, None, "")

    assert isinstance(Lists(), ListsDevices)
    assert not isinstance(object(), ListsDevices)
