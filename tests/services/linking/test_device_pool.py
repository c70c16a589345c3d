"""The protocols of devices over several workers."""

import trioedge as te
from trioedge.services.linking.device_pool import DeviceShare, PoolsDevices
from trioedge.testing import make_context
from trioedge.workers.member import HubMember


def test_only_the_control_plane_of_a_worker_pools_devices_and_its_limit_has_a_share() -> None:
    edge = te.Edge("tcp://127.0.0.1:0", [te.DeviceLimit(2)], te.Forward("tcp://192.0.2.9:6379"))
    there = HubMember({"edge": edge}, "", bytes(32), number=0, column=0, generation=0).control("edge")
    assert isinstance(there, PoolsDevices)
    assert isinstance(te.DeviceLimit(2).open(make_context(control=there)), DeviceShare)
    alone = te.MemoryControl()
    assert not isinstance(alone, PoolsDevices)
    assert not isinstance(te.DeviceLimit(2).open(make_context(control=alone)), DeviceShare)
