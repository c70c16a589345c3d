import pytest

from trioedge.addresses.source_prefix import SourcePrefix
from trioedge.stages.devices.source_names import namer
from trioedge.testing import make_session


@pytest.mark.parametrize(
    ("prefix", "bits", "names"),
    [
        (SourcePrefix(), None, ["192.0.2.7", "2001:db8:0:1::/64", "2001:db8:0:1::/64", "unix"]),
        (SourcePrefix(), 128, ["192.0.2.7", "2001:db8:0:1::", "2001:db8:0:1::9", "unix"]),
        (SourcePrefix(24, 56), None, ["192.0.2.0/24", "2001:db8::/56", "2001:db8::/56", "unix"]),
        (SourcePrefix(24, 56), 128, ["192.0.2.0/24", "2001:db8:0:1::", "2001:db8:0:1::9", "unix"]),
    ],
)
def test_a_device_is_named_by_its_address_or_its_prefix(
    prefix: SourcePrefix, bits: int | None, names: list[str]
) -> None:
    sources = ("192.0.2.7", "2001:db8:0:1::", "2001:db8:0:1::9", "unix")
    assert [namer(prefix, bits)(make_session(source)) for source in sources] == names
