"""A decision of trioedge that accepts and rejects clients by country and AS number, out of MaxMind DB files."""

from .geo_ip import GeoIp as GeoIp
from .rules import GeoRules as GeoRules

__all__ = ["GeoIp", "GeoRules"]
