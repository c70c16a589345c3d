import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trioedge as te
from tests.strategies import examples
from trioedge.upstreams.ways.proxy_url import ProxyUrl, parse_proxy_url


@pytest.mark.parametrize(
    ("url", "scheme", "address", "login"),
    [
        ("socks5://127.0.0.1:1080", "socks5", "tcp://127.0.0.1:1080", (None, None)),
        ("socks5://ann:s%40cret%3A@proxy.example:1080", "socks5", "tcp://proxy.example:1080", ("ann", "s@cret:")),
        ("socks5://ann:a@b:c@[2001:db8::1]:1080", "socks5", "tcp://[2001:db8::1]:1080", ("ann", "a@b:c")),
        ("socks4://ann@127.0.0.1:1080", "socks4", "tcp://127.0.0.1:1080", ("ann", None)),
        ("http://proxy:3128/", "http", "tcp://proxy:3128", (None, None)),
        (" https://ann:secret@proxy.example:443", "https", "tcp://proxy.example:443", ("ann", "secret")),
    ],
)
def test_a_url_has_a_scheme_an_address_and_perhaps_a_login(
    url: str, scheme: str, address: str, login: tuple[str | None, str | None]
) -> None:
    proxy = parse_proxy_url(url)
    assert (proxy.scheme, str(proxy.address), (proxy.username, proxy.password)) == (scheme, address, login)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (7, "Via(7) must be the URL of a proxy, as in 'socks5://127.0.0.1:1080'"),
        ("proxy:1080", "Via('the URL of a proxy'): it must begin with socks5://, socks4://, http:// or https://"),
        ("socks5h://ann:secret@proxy:1080", "Via('socks5h://***@proxy:1080'): write socks5://, and Via(…, remote_n"),
        ("socks4a://proxy:1080", "write socks4://, and Via(…, remote_names=True)"),
        ("ftp://proxy:21", "Via('ftp://proxy:21'): it must begin with socks5://"),
        ("socks5://proxy", "Via('socks5://proxy') names no port, as in 'socks5://proxy.example:1080'"),
        ("socks5://ann:secret@", "Via('socks5://***@') names no host"),
        ("socks5://proxy:0", "Via('socks5://proxy:0') nothing answers on port 0"),
        ("socks5://proxy:1080/path", "Via('socks5://proxy:1080/path') has more than a host and a port"),
        ("socks5://:secret@proxy:1080", "Via('socks5://***@proxy:1080'): its login has no user"),
        ("socks5://ann@proxy:1080", "its login has no password"),
        ("socks4://ann:secret@proxy:1080", "SOCKS4 knows a user and no password"),
        ("socks5://ann:secr%C3%A9t@proxy:1080", "the password has characters that are not printable ASCII"),
        ("http://an%0An:secret@proxy:80", "the user has characters that are not printable ASCII"),
        (f"socks5://ann:{'s' * 256}@proxy:1080", "the password has more than 255 characters"),
        ("http://a%3Ann:secret@proxy:80", "the user has a colon, which HTTP cannot say (RFC 7617)"),
    ],
)
def test_a_wrong_url_is_refused_with_the_mend_and_without_its_login(url: object, fault: str) -> None:
    with pytest.raises(te.ConfigurationError, match=re.escape(fault)) as raised:
        parse_proxy_url(url)
    assert "secr" not in str(raised.value)


@examples(200)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6), st.text(max_size=20))
def test_a_password_is_neither_shown_nor_in_an_error(password: str, place: str) -> None:
    for url in (f"socks5://ann:{password}@proxy:1080", f"socks5://ann:{password}@{place}"):
        try:
            proxy = parse_proxy_url(url)
        except te.ConfigurationError as error:
            shown = str(error)
        else:
            shown = f"{proxy} {proxy!r}"
        assert password not in shown.replace(place, "")


def test_a_proxy_shows_that_it_has_a_login_and_not_which() -> None:
    shown = str(parse_proxy_url("socks5://ann:secret@[2001:db8::1]:1080"))
    assert shown == repr(parse_proxy_url("socks5://ann:secret@[2001:db8::1]:1080")) == "socks5://***@[2001:db8::1]:1080"
    assert str(ProxyUrl("http", te.Address("tcp", "proxy", 3128))) == "http://proxy:3128"
