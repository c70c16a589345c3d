import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.upstreams.resolv_conf import ResolvConf, parse_resolv_conf

WORDS = [b"nameserver ", b"search ", b"options ", b"domain ", b"ndots:", b"\n", b"#"]
ONE = ("192.0.2.53",)


@pytest.mark.parametrize(
    ("text", "configuration"),
    [
        (b"nameserver 192.0.2.53\n", ResolvConf(ONE)),
        (b"# caf\xe9 au r\xe9seau\nnameserver 192.0.2.53\n", ResolvConf(ONE)),
        (b"; comment\n\xff\xfe\x00\nnameserver 192.0.2.53", ResolvConf(ONE)),
        (b"nameserver 192.0.2.53 # the first\r\n", ResolvConf(ONE)),
        (b"nameserver somewhere\nnameserver 192.0.2.53\n", ResolvConf(ONE)),
        (b"nameserver\nnameserver 192.0.2.999\nnameserver 192.0.2.53\n", ResolvConf(ONE)),
        (b"namesever 192.0.2.1\nblurb\nnameserver 192.0.2.53\n", ResolvConf(ONE)),
        (b"nameserver 192.0.2.53\nnameserver fe80::1%eth0\n", ResolvConf((*ONE, "fe80::1%eth0"))),
        (b"", ResolvConf(("127.0.0.1",))),
        (b"nameserver somewhere\nsearch corp.test\n", ResolvConf(("127.0.0.1",), ("corp.test",))),
        (b"search a.test b.test\nnameserver 192.0.2.53", ResolvConf(ONE, ("a.test", "b.test"))),
        (b"search a.test\nsearch b.test\nnameserver 192.0.2.53", ResolvConf(ONE, ("b.test",))),
        (b"search a.test\ndomain b.test\nnameserver 192.0.2.53", ResolvConf(ONE, ("b.test",))),
        (b"domain b.test\nsearch a.test\nnameserver 192.0.2.53", ResolvConf(ONE, ("a.test",))),
        (b"search a..test b.test # c.test\nnameserver 192.0.2.53", ResolvConf(ONE, ("b.test",))),
        (b"search " + b"a" * 64 + b".test b.test\nnameserver 192.0.2.53", ResolvConf(ONE, ("b.test",))),
        (b"search a\\300.test a.test\\ b.test\nnameserver 192.0.2.53", ResolvConf(ONE, ("b.test",))),
        (b"search b\xe9.test b.test\nnameserver 192.0.2.53", ResolvConf(ONE, ("b.test",))),
        (b"search .\nnameserver 192.0.2.53", ResolvConf(ONE, (".",))),
        (
            b"nameserver 192.0.2.53\noptions ndots:5 timeout:2 attempts:3 rotate edns0 use-vc\n",
            ResolvConf(ONE, (), 5, 2, 3, rotate=True, edns0=True, use_tcp=True),
        ),
        (b"options ndots:2\noptions timeout:3\nnameserver 192.0.2.53", ResolvConf(ONE, ndots=2, timeout=3)),
        (b"options ndots:x timeout: attempts:-1 blurb ndots:3\nnameserver 192.0.2.53", ResolvConf(ONE, ndots=3)),
        (b"options ndots:99 timeout:0 attempts:99\nnameserver 192.0.2.53", ResolvConf(ONE, (), 15, 1, 5)),
        ("options ndots:٣ ndots:²\nnameserver 192.0.2.53".encode(), ResolvConf(ONE)),
    ],
)
def test_a_file_is_read_as_libc_reads_it(text: bytes, configuration: ResolvConf) -> None:
    assert parse_resolv_conf(text) == configuration


@examples(300)
@given(
    st.lists(
        st.sampled_from([b"nameserver ", b"search ", b"options ", b"domain ", b"ndots:", b"\n", b"#"]) | st.binary()
    )
)
def test_no_file_keeps_a_server_from_being_read(parts: list[bytes]) -> None:
    found = parse_resolv_conf(b"".join(parts) + b"\nnameserver 192.0.2.53\n")
    assert found.servers[-1] == "192.0.2.53"
    assert found.timeout >= 1


@examples(300)
@given(st.text(st.sampled_from('ab.-_*@\\"()$;#12xn'), max_size=12))
def test_every_domain_that_is_kept_can_be_queried(word: str) -> None:
    for domain in parse_resolv_conf(f"search {word}\n".encode()).search:
        assert dns.name.from_text(domain).is_absolute()
