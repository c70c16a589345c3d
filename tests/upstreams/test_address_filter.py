import socket

import pytest

from trioedge.addresses.address import Address, parse_address
from trioedge.addresses.classes import AddressClass, classify
from trioedge.services.context import SocketAddress
from trioedge.session.verdict import Reason
from trioedge.upstreams import address_filter
from trioedge.upstreams.address_filter import AddressFilter
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.resolver import Answer, local_answer

WHERE = Address("tcp", "db.test", 80)


def answer(*hosts: str) -> tuple[SocketAddress, ...]:
    return tuple((socket.AF_INET6 if ":" in host else socket.AF_INET, (host, 80)) for host in hosts)


KINDS = [
    ("8.8.8.8", "global"),
    ("2606:4700::1", "global"),
    ("10.0.0.1", "private"),
    ("fd00::1", "private"),
    ("127.0.0.1", "loopback"),
    ("::ffff:127.0.0.1", "loopback"),
    ("fe80::1%eth0", "link_local"),
    ("169.254.169.254", "metadata"),
    ("224.0.0.1", "multicast"),
    ("0.0.0.0", "unspecified"),
    ("240.0.0.1", "reserved"),
]


@pytest.mark.parametrize(("host", "kind"), KINDS)
def test_an_address_is_permitted_if_its_kind_is_global_or_allowed(host: str, kind: str) -> None:
    given = answer(host)
    assert AddressFilter([kind]).permit(WHERE, given) is given
    permitted = AddressFilter(each for each in AddressClass if each != kind).permit(WHERE, given)
    if kind == "global":
        assert permitted is given
    else:
        assert isinstance(permitted, UpstreamError)
        assert permitted.reason is Reason.UPSTREAM_FORBIDDEN
        assert permitted.detail.startswith(f"tcp://db.test:80: {host} is a")
        assert permitted.detail.endswith(f"; allow=['{kind}'] lets it through")


def test_the_message_names_the_kind_and_the_argument_that_allows_it() -> None:
    permitted = AddressFilter().permit(WHERE, answer("169.254.169.254"))
    assert isinstance(permitted, UpstreamError)
    assert permitted.detail == (
        "tcp://db.test:80: 169.254.169.254 is a metadata address; allow=['metadata'] lets it through"
    )
    permitted = AddressFilter().permit(WHERE, answer("0.0.0.0"))
    assert isinstance(permitted, UpstreamError)
    assert "0.0.0.0 is an unspecified address" in permitted.detail


def test_forbidden_addresses_are_removed_and_the_others_kept_in_order() -> None:
    internet = AddressFilter()
    given = answer("8.8.8.8", "127.0.0.1", "2606:4700::1", "::1")
    assert internet.permit(WHERE, given) == answer("8.8.8.8", "2606:4700::1")
    assert internet.permit(WHERE, given) is internet.permit(WHERE, given)


def test_the_message_names_the_first_of_several_forbidden_addresses() -> None:
    permitted = AddressFilter().permit(WHERE, answer("10.0.0.1", "127.0.0.1"))
    assert isinstance(permitted, UpstreamError)
    assert "10.0.0.1 is a private address" in permitted.detail


def test_local_sockets_are_allowed_with_the_word_unix() -> None:
    where = parse_address("unix:///run/x.sock")
    given = local_answer(where)
    assert given is not None
    assert AddressFilter(["unix"]).permit(where, given) is given
    permitted = AddressFilter(list(AddressClass)).permit(where, given)
    assert isinstance(permitted, UpstreamError)
    assert "/run/x.sock is a local socket; allow=['unix']" in permitted.detail


def test_an_error_is_returned_as_it_is() -> None:
    error = UpstreamError(Reason.UPSTREAM_UNRESOLVED, "no such name")
    assert AddressFilter().permit(WHERE, error) is error


def test_each_refusal_is_a_new_exception_with_its_own_destination() -> None:
    internet, given = AddressFilter(), answer("127.0.0.1")
    first = internet.permit(WHERE, given)
    second = internet.permit(Address("tcp", "other.test", 80), given)
    assert isinstance(first, UpstreamError)
    assert isinstance(second, UpstreamError)
    assert first is not second
    assert second.detail.startswith("tcp://other.test:80: ")


def test_an_answer_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[bytes] = []

    def note(packed: bytes) -> AddressClass:
        judged.append(packed)
        return classify(packed)

    monkeypatch.setattr(address_filter, "classify", note)
    internet, given = AddressFilter(), answer("8.8.8.8", "8.8.4.4")
    for _ in range(3):
        internet.permit(WHERE, given)
    assert len(judged) == 2


def test_memory_is_bounded_and_verdicts_are_never_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_filter, "CAPACITY", 3)
    internet = AddressFilter()
    for number in range(200):  # answers are freed, and new ones get their identity
        inner: Answer = internet.permit(WHERE, ((socket.AF_INET, (f"10.0.0.{number}", 80)),))
        assert isinstance(inner, UpstreamError)
        assert f"10.0.0.{number} " in inner.detail
        given = answer(f"8.8.8.{number}")
        assert internet.permit(WHERE, given) == given
        assert len(internet._verdicts) <= 3
