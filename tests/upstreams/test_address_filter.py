import socket

import pytest

from trioedge.addresses.address import Address, parse_address
from trioedge.addresses.classes import AddressClass, classify
from trioedge.errors import ConfigurationError
from trioedge.session.verdict import Reason
from trioedge.upstreams import address_filter as validation
from trioedge.upstreams.address_filter import AddressFilter
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.resolver import Answer, SocketAddress, local_answer

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
def test_a_kind_is_let_through_if_it_is_global_or_allowed(host: str, kind: str) -> None:
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


def test_the_message_says_what_it_is_and_how_to_let_it_through() -> None:
    permitted = AddressFilter().permit(WHERE, answer("169.254.169.254"))
    assert isinstance(permitted, UpstreamError)
    assert permitted.detail == (
        "tcp://db.test:80: 169.254.169.254 is a metadata address; allow=['metadata'] lets it through"
    )
    permitted = AddressFilter().permit(WHERE, answer("0.0.0.0"))
    assert isinstance(permitted, UpstreamError)
    assert "0.0.0.0 is an unspecified address" in permitted.detail


def test_forbidden_addresses_are_dropped_and_the_others_kept_in_order() -> None:
    validator = AddressFilter()
    given = answer("8.8.8.8", "127.0.0.1", "2606:4700::1", "::1")
    assert validator.permit(WHERE, given) == answer("8.8.8.8", "2606:4700::1")
    assert validator.permit(WHERE, given) is validator.permit(WHERE, given)


def test_the_first_of_several_forbidden_ones_is_named() -> None:
    permitted = AddressFilter().permit(WHERE, answer("10.0.0.1", "127.0.0.1"))
    assert isinstance(permitted, UpstreamError)
    assert "10.0.0.1 is a private address" in permitted.detail


def test_local_sockets_have_a_word_of_their_own() -> None:
    where = parse_address("unix:///run/x.sock")
    given = local_answer(where)
    assert given is not None
    assert AddressFilter(["unix"]).permit(where, given) is given
    permitted = AddressFilter(list(AddressClass)).permit(where, given)
    assert isinstance(permitted, UpstreamError)
    assert "/run/x.sock is a local socket; allow=['unix']" in permitted.detail


def test_an_error_stays_what_it_is() -> None:
    error = UpstreamError(Reason.UPSTREAM_UNRESOLVED, "no such name")
    assert AddressFilter().permit(WHERE, error) is error


def test_each_refusal_is_an_exception_of_its_own_and_names_its_own_destination() -> None:
    validator, given = AddressFilter(), answer("127.0.0.1")
    first = validator.permit(WHERE, given)
    second = validator.permit(Address("tcp", "other.test", 80), given)
    assert isinstance(first, UpstreamError)
    assert isinstance(second, UpstreamError)
    assert first is not second
    assert second.detail.startswith("tcp://other.test:80: ")


@pytest.mark.parametrize("allow", [["everything"], ["private", "metadta"], [None], [b"private"], "privat"])
def test_a_word_that_is_no_kind_is_refused_with_those_that_are(allow: object) -> None:
    with pytest.raises(ConfigurationError, match=r"is no kind of address; kinds are global, private.*, unix"):
        AddressFilter(allow)  # type: ignore[arg-type]


def test_one_word_is_one_kind_not_its_letters() -> None:
    given = answer("10.0.0.1")
    assert AddressFilter("private").permit(WHERE, given) is given


def test_an_answer_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[bytes] = []

    def note(packed: bytes) -> AddressClass:
        judged.append(packed)
        return classify(packed)

    monkeypatch.setattr(validation, "classify", note)
    validator, given = AddressFilter(), answer("8.8.8.8", "8.8.4.4")
    for _ in range(3):
        validator.permit(WHERE, given)
    assert len(judged) == 2


def test_it_remembers_as_many_verdicts_as_it_may_and_mixes_none_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "CAPACITY", 3)
    validator = AddressFilter()
    for number in range(200):  # answers come and go, and memory with them is used again for others
        inner: Answer = validator.permit(WHERE, ((socket.AF_INET, (f"10.0.0.{number}", 80)),))
        assert isinstance(inner, UpstreamError)
        assert f"10.0.0.{number} " in inner.detail
        given = answer(f"8.8.8.{number}")
        assert validator.permit(WHERE, given) == given
        assert len(validator._verdicts) <= 3
