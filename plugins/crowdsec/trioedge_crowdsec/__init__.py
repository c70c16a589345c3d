"""CrowdSec for trioedge: a decision that refuses banned addresses, out of memory.

A module an idea; the first three are pure:

    errors      the error of a request to the local API
    bans        the bans in force, by address and by prefix
    decisions   one decision of CrowdSec, read: its duration, its network, its ban
    answer      an answer of the local API, read while it arrives
    update      an answer, applied to the bans
    lapi        the requests to the local API
    live        the live stage: asks, judges, cuts
    arguments   checks of the arguments
    crowdsec    the recipe
"""

from .crowdsec import CrowdSec as CrowdSec

__all__ = ["CrowdSec"]
