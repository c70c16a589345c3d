from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.upstreams.lookup import Absent, Failed, Found, Lookup, join, join_searched, take_turns

FOUND = Found(("192.0.2.1",), 30.0)
OTHER = Found(("2001:db8::1", "2001:db8::2"), 20.0)
ABSENT = Absent("no A record", 10.0)
FAILED = Failed("SERVFAIL")


@pytest.mark.parametrize(
    ("lookups", "joined"),
    [
        ([FOUND], FOUND),
        ([FOUND, OTHER], Found(("192.0.2.1", "2001:db8::1", "2001:db8::2"), 20.0)),
        ([OTHER, FOUND], Found(("2001:db8::1", "2001:db8::2", "192.0.2.1"), 20.0)),
        ([FOUND, ABSENT], FOUND),
        ([ABSENT, FOUND], FOUND),
        ([FAILED, FOUND], FOUND),
        ([ABSENT, Absent("no AAAA record", 5.0)], Absent("no A record", 5.0)),
        ([ABSENT], ABSENT),
        ([ABSENT, FAILED], FAILED),
        ([FAILED, ABSENT], FAILED),
        ([FAILED, Failed("other")], FAILED),
    ],
)
def test_the_outcomes_of_two_families_are_joined(lookups: list[Lookup], joined: Lookup) -> None:
    assert join(lookups) == joined


@pytest.mark.parametrize(
    ("hosts", "turns"),
    [
        ([], []),
        (["1", "2"], ["1", "2"]),
        (["::1", "::2", "1"], ["::1", "1", "::2"]),
        (["1", "::1", "2", "3"], ["1", "::1", "2", "3"]),
        (["1", "2", "3", "::1", "::2"], ["1", "::1", "2", "::2", "3"]),
    ],
)
def test_families_take_turns_beginning_with_that_of_the_first_address(hosts: list[str], turns: list[str]) -> None:
    assert take_turns(hosts) == turns


@examples(100)
@given(st.lists(st.ip_addresses().map(str)))
def test_turns_keep_every_address_and_the_order_within_each_family(hosts: list[str]) -> None:
    turns = take_turns(hosts)
    for family in (True, False):
        assert [host for host in turns if (":" in host) == family] == [h for h in hosts if (":" in h) == family]
    kinds = [":" in host for host in turns]
    changes = sum(one != other for one, other in pairwise(kinds))
    assert changes >= min(2 * min(kinds.count(True), kinds.count(False)) - 1, len(kinds) - 1)


@pytest.mark.parametrize(
    ("lookups", "joined"),
    [
        ([ABSENT], ABSENT),
        ([ABSENT, Absent("b.test. does not exist", 5.0)], Absent("no A record, b.test. does not exist", 5.0)),
        ([ABSENT, FAILED, ABSENT], FAILED),
    ],
)
def test_what_no_search_domain_has_is_absent_unless_one_of_them_failed(lookups: list[Lookup], joined: Lookup) -> None:
    assert join_searched(lookups) == joined
