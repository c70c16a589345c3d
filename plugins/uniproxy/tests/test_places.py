from trioedge_uniproxy.places import Places


def test_addresses_that_this_node_told_are_taken_off_what_the_panel_counts() -> None:
    places = Places()
    places.count({"7": 3, "8": 1})
    assert (places.elsewhere("7"), places.elsewhere("8"), places.elsewhere("9")) == (3, 1, 0)
    places.told({"7": ["192.0.2.1", "192.0.2.2"], "8": ["192.0.2.1"]}, acknowledged=True)
    places.count({"7": 3, "8": 1})
    assert (places.elsewhere("7"), places.elsewhere("8")) == (1, 0)
    places.count({"7": 1})  # it has forgotten some
    assert places.elsewhere("7") == 0
    places.count({})
    assert places.elsewhere("7") == 0


def test_users_that_have_left_are_told_once_as_having_no_address() -> None:
    places = Places()
    told = places.to_tell({"7": ["192.0.2.1", "2001:db8::/64"], "8": ["unix"]})
    assert told == {"7": ["192.0.2.1", "2001:db8::"], "8": ["unix"]}
    places.told(told, acknowledged=True)
    left = places.to_tell({"8": ["unix"]})
    assert left == {"7": [], "8": ["unix"]}
    places.told(left, acknowledged=True)
    assert places.to_tell({"8": ["unix"]}) == {"8": ["unix"]}


def test_what_was_not_acknowledged_may_have_arrived_so_it_is_told_again() -> None:
    places = Places()
    places.told({"7": ["192.0.2.1"]}, acknowledged=False)
    places.count({"7": 1})
    assert places.elsewhere("7") == 1  # as far as this node knows
    assert places.to_tell({}) == {"7": []}
    places.told({"7": []}, acknowledged=False)
    assert places.to_tell({}) == {"7": []}


def test_addresses_of_an_earlier_run_are_told_to_be_gone() -> None:
    places = Places()
    places.told({"8": ["192.0.2.1"]}, acknowledged=True)
    places.suspect(["7", "8"])
    assert places.to_tell({}) == {"7": [], "8": []}
    places.count({"8": 1})
    assert places.elsewhere("8") == 0
