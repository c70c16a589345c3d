"""An edge for clients of three countries without one of their networks, and for checks from the local network."""

import trioedge as te

from trioedge_geoip import GeoIp

edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[
        GeoIp(
            "/var/lib/GeoIP/GeoLite2-Country.mmdb",
            asn_path="/var/lib/GeoIP/GeoLite2-ASN.mmdb",
            accept_countries=["DE", "AT", "CH"],
            reject_as_numbers=[64500],
            local="accept",
        ),
        te.SessionGate(rate=200, burst=32),
    ],
    endpoint=te.Forward("tcp://127.0.0.1:6379"),
)

if __name__ == "__main__":
    te.run(edge)
