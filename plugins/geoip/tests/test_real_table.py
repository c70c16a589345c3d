"""A real table: GeoLite2-City of July 2018, 57 MB, from the package maxminddb-geolite2."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import trioedge as te
from trioedge.testing import make_context, make_session

from trioedge_geoip import GeoIp
from trioedge_geoip.places import Places
from trioedge_geoip.table import Table


@pytest.fixture(scope="module")
def path() -> Path:
    package = find_spec("_maxminddb_geolite2")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).with_name("GeoLite2-City.mmdb")


def test_well_known_addresses_are_where_they_were(path: Path) -> None:
    table = Table(path)
    places = Places(None, None)
    places.look_in([table.record])
    found = {
        address: places.of(make_session(address).source_bytes, address).country
        for address in ("8.8.8.8", "1.1.1.1", "81.2.69.142", "193.0.6.139", "2001:4860:4860::8888", "2001:67c:2e8::1")
    }
    assert found == {
        "8.8.8.8": "US",
        "1.1.1.1": "AU",  # which is where its network is registered
        "81.2.69.142": "GB",
        "193.0.6.139": "NL",
        "2001:4860:4860::8888": "US",
        "2001:67c:2e8::1": "NL",
    }
    assert (table.kind, table.has_countries, table.has_as_numbers, table.broken) == ("GeoLite2-City", True, False, 0)


def test_clients_are_judged_by_it(path: Path) -> None:
    live = GeoIp(path, accept_countries=["GB", "NL"], local="accept").open(make_context())
    verdicts = [live.decide(make_session(each)) for each in ("81.2.69.142", "193.0.6.139", "10.0.0.1", "8.8.8.8")]
    assert verdicts == [te.CONTINUE] * 3 + [te.Reject(te.Reason.SOURCE, "country US matches no accepted entry")]
