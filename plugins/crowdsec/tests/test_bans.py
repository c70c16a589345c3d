"""The table of bans: look-ups against `ipaddress`, changes against a model."""

import ipaddress
from typing import Any

import trioedge as te
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trioedge_crowdsec.bans import Ban, Bans, Network
from trioedge_crowdsec.decisions import read_network

OTHER = ("192.0.2.9", "2001:db8:9::1", "0.0.0.0", "255.255.255.255", "::", "ffff::", "198.51.100.7")
FEW = ["192.0.2.7", "192.0.2.8", "192.0.2.0/24", "192.0.0.0/16", "0.0.0.0/0", "2001:db8::1", "2001:db8::/64", "::/0"]
ASKED = ("192.0.2.7", "192.0.2.8", "192.0.2.9", "192.0.9.9", "8.8.8.8", "2001:db8::1", "2001:db8::2", "1::")

prefixes_4 = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda each: str(ipaddress.ip_network((each[0] >> 32 - each[1] << 32 - each[1], each[1])))
)
prefixes_6 = st.tuples(st.integers(2**100, 2**128 - 1), st.integers(0, 128)).map(
    lambda each: str(ipaddress.IPv6Network((each[0] >> 128 - each[1] << 128 - each[1], each[1])))
)


def ban(text: str, until: float = 60.0, words: str = "crowdsec: ban") -> Ban:
    return read_network(text), until, words


def judge(bans: Bans, address: str, now: float = 0.0) -> Any:
    return bans.judge(ipaddress.ip_address(address).packed, now)


def test_an_empty_table_accepts_every_source() -> None:
    assert [judge(Bans(), each) for each in OTHER] == [te.CONTINUE] * len(OTHER)
    assert Bans().judge(b"", 0) is te.CONTINUE


def test_a_banned_address_is_refused_with_the_words_of_its_ban() -> None:
    bans = Bans()
    bans.put(1, ban("192.0.2.7", words="crowdsec: ban by crowdsecurity/ssh-bf"))
    assert judge(bans, "192.0.2.7") == te.Reject(te.Reason.SOURCE, "crowdsec: ban by crowdsecurity/ssh-bf")
    assert judge(bans, "192.0.2.8") is te.CONTINUE


def test_a_client_of_a_local_socket_is_in_no_prefix_not_even_in_that_of_all_addresses() -> None:
    bans = Bans()
    bans.put(1, ban("0.0.0.0/0"))
    bans.put(2, ban("::/0"))
    assert bans.judge(b"", 0) is te.CONTINUE


def test_a_ban_refuses_until_its_end_and_not_at_it() -> None:
    bans = Bans()
    bans.put(1, ban("192.0.2.7", until=10))
    bans.put(2, ban("192.0.2.0/24", until=20))
    assert judge(bans, "192.0.2.7", 9.9) != te.CONTINUE
    assert judge(bans, "192.0.2.7", 10) == te.Reject(te.Reason.SOURCE, "crowdsec: ban")  # of the prefix
    assert judge(bans, "192.0.2.7", 20) is te.CONTINUE


def test_two_bans_of_one_address_end_one_by_one() -> None:
    bans = Bans()
    bans.put(1, ban("192.0.2.7", words="first"))
    bans.put(2, ban("192.0.2.7", words="second"))
    bans.remove(2)
    assert judge(bans, "192.0.2.7") == te.Reject(te.Reason.SOURCE, "first")
    bans.remove(1)
    assert judge(bans, "192.0.2.7") is te.CONTINUE


def test_an_id_that_comes_again_with_another_address_bans_that_one_only() -> None:
    bans = Bans()
    bans.put(1, ban("192.0.2.7"))
    bans.put(1, ban("192.0.2.8"))
    assert judge(bans, "192.0.2.7") is te.CONTINUE
    assert judge(bans, "192.0.2.8") != te.CONTINUE
    assert len(bans) == 1


def test_an_unknown_id_is_removed_without_an_effect() -> None:
    bans = Bans()
    bans.put(1, ban("192.0.2.7"))
    bans.remove(2)
    assert bans.ids() == [1]


@given(st.lists(prefixes_4 | prefixes_6, max_size=20), st.integers(0, 2**32 - 1), st.integers(2**100, 2**128 - 1))
def test_an_address_is_refused_if_and_only_if_a_network_has_it(texts: list[str], four: int, six: int) -> None:
    bans = Bans()
    networks = [ipaddress.ip_network(each) for each in texts]
    for number, text in enumerate(texts):
        bans.put(number, ban(text))
    asked = [ipaddress.ip_address(four), ipaddress.IPv6Address(six)]
    asked += [end for each in networks for end in (each[0], each[-1])]
    for address in asked:
        banned = any(address in each for each in networks if each.version == address.version)
        assert (bans.judge(address.packed, 0) is not te.CONTINUE) == banned


class Changes(RuleBasedStateMachine):
    """Puts and removals, against a dict of bans."""

    def __init__(self) -> None:
        super().__init__()
        self.bans = Bans()
        self.model: dict[int, tuple[str, float]] = {}

    @rule(ban_id=st.integers(0, 6), text=st.sampled_from(FEW), until=st.sampled_from([5.0, 10.0, 15.0]))
    def put(self, ban_id: int, text: str, until: float) -> None:
        self.bans.put(ban_id, ban(text, until))
        self.model[ban_id] = text, until

    @rule(ban_id=st.integers(0, 6))
    def remove(self, ban_id: int) -> None:
        self.bans.remove(ban_id)
        self.model.pop(ban_id, None)

    @invariant()
    def it_has_the_bans_of_the_model(self) -> None:
        assert sorted(self.bans.ids()) == sorted(self.model)
        assert {each: self.bans.get(each) for each in self.model} == {
            each: ban(text, until) for each, (text, until) in self.model.items()
        }
        for asked in (
            "192.0.2.7",
            "192.0.2.8",
            "192.0.2.9",
            "192.0.9.9",
            "8.8.8.8",
            "2001:db8::1",
            "2001:db8::2",
            "1::",
        ):
            address = ipaddress.ip_address(asked)
            for now in (0.0, 7.0, 12.0, 20.0):
                banned = any(
                    now < until
                    for text, until in self.model.values()
                    if (network := ipaddress.ip_network(text)).version == address.version and address in network
                )
                assert (judge(self.bans, asked, now) is not te.CONTINUE) == banned


Changes.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
TestChanges = Changes.TestCase


def test_a_length_that_is_not_in_use_any_more_costs_no_look_up() -> None:
    bans = Bans()
    for number, text in enumerate(FEW):
        bans.put(number, ban(text))
    for number in range(len(FEW)):
        bans.remove(number)
    network: Network = read_network("192.0.2.0/24")
    bans.put(9, (network, 60.0, ""))
    assert [host_bits for host_bits, _ in bans._lengths[4]] == [8]
    assert 16 not in bans._lengths
