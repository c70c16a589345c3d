import re
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.errors import ConfigurationError
from trioedge.services.rates import format_bytes, format_rate, parse_bytes, parse_rate


@pytest.mark.parametrize(
    ("value", "bytes_per_second"),
    [
        (1, 1.0),
        (1.5, 1.5),
        (1_250_000, 1.25e6),
        ("10 MB/s", 1e7),
        ("10MB/s", 1e7),
        ("  10  MB/s ", 1e7),
        ("500 kB/s", 5e5),
        ("500 KB/s", 5e5),
        ("2 MiB/s", 2 * 1024**2),
        ("2 kiB/s", 2048),
        ("2 KiB/s", 2048),
        ("1 GiB/s", 1024**3),
        ("1.5 TiB/s", 1.5 * 1024**4),
        ("3 TB/s", 3e12),
        ("700 B/s", 700),
        ("50 Mbit/s", 6.25e6),
        ("1.5 Gbit/s", 187.5e6),
        ("64 Kibit/s", 8192),
        ("8 bit/s", 1),
        ("1e6 B/s", 1e6),
        ("007 B/s", 7),
    ],
)
def test_a_rate_is_read_as_bytes_per_second(value: object, bytes_per_second: float) -> None:
    assert parse_rate(value) == pytest.approx(bytes_per_second, rel=1e-12)


@pytest.mark.parametrize(
    "value",
    [
        0, -1, 0.0, inf, -inf, nan, 10**400, True, False, None, b"10 MB/s", [10],
        "", "10", "MB/s", "0 MB/s", "-1 MB/s", "+1 MB/s", "inf B/s", "nan B/s", "1e400 B/s", "9" * 400 + " B/s",
        "10 MB", "10 Mb", "10 Pb/s", "0 Mb/s", "1 b/s", "9e999 Mb/s", "10 MBit/s", "10 mB/s", "10 mbit/s",
        "10 gB/s", "10 miB/s", "10 iB/s", "10 PB/s",
        "1,5 MB/s", "1_000 B/s", ".5 MB/s", "1. MB/s", "10 M B/s", "10 MB /s", "10 MB/s.", "10 MB/s 20 MB/s",
        "\u0661\u0660 MB/s", "0x10 B/s",
    ],
)  # fmt: skip
def test_a_value_that_is_no_rate_is_quoted_and_the_message_shows_how_a_rate_is_written(value: object) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_rate(value)
    assert str(refusal.value).startswith(f"rate {value!r} must be at least 1")
    assert "'10 MB/s'" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "in_bytes", "in_bits"),
    [
        ("10 Mb/s", "10 MB/s", "10 Mbit/s"),
        ("10Mb/s", "10 MB/s", "10 Mbit/s"),
        ("10 Mbps", "10 MB/s", "10 Mbit/s"),
        (" 10 mbps ", "10 MB/s", "10 Mbit/s"),
        ("1.5 gb/s", "1.5 GB/s", "1.5 Gbit/s"),
        ("500 kb/s", "500 kB/s", "500 kbit/s"),
        ("500 Kb/s", "500 KB/s", "500 Kbit/s"),
        ("2 mib/s", "2 MiB/s", "2 Mibit/s"),
        ("800 b/s", "800 B/s", "800 bit/s"),
    ],
)
def test_a_rate_in_b_is_refused_with_the_rates_in_bytes_and_in_bits_that_may_be_meant(
    text: str, in_bytes: str, in_bits: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_rate(text)
    assert str(refusal.value) == (
        f"rate {text!r} may be bits or bytes: did you mean '{in_bytes}' (bytes) or '{in_bits}' (bits)?"
    )
    assert parse_rate(in_bytes) == 8 * parse_rate(in_bits)


pieces = st.sampled_from(
    ["0", "7", "10", ".", "e", "e-9", "e400", "-", " ", "k", "M", "m", "i", "B", "b", "bit", "/s", "ps", "/", "s"]
)


@examples(200)
@given(st.lists(pieces, max_size=8).map("".join) | st.floats() | st.integers())
def test_any_value_is_a_rate_or_is_quoted_and_what_the_message_proposes_is_a_rate(value: object) -> None:
    said = ""
    try:
        assert 1 <= parse_rate(value) < inf
    except ConfigurationError as refusal:
        said = str(refusal)
    if said:
        assert said.startswith(f"rate {value!r} m")
        proposed = re.findall(r"'([^']+)'", said.removeprefix(f"rate {value!r}"))
        assert len(proposed) in (2, 3)
        for text in proposed:
            parse_rate(text)


@pytest.mark.parametrize(
    ("bytes_per_second", "text"),
    [
        (1e7, "10 MB/s"),
        (1, "1 B/s"),
        (0.25, "0.25 B/s"),
        (999, "999 B/s"),
        (1000, "1 kB/s"),
        (999_949, "999.9 kB/s"),
        (999_951, "1 MB/s"),
        (6.25e6, "6.25 MB/s"),
        (1_234_567, "1.235 MB/s"),
        (12.5e9, "12.5 GB/s"),
        (4e12, "4 TB/s"),
    ],
)
def test_a_rate_is_formatted_with_four_digits(bytes_per_second: float, text: str) -> None:
    assert format_rate(bytes_per_second) == text


@examples(100)
@given(st.floats(1, 1e20))
def test_a_formatted_rate_is_parsed_to_the_same_rate(rate: float) -> None:
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=0.0006)


@pytest.mark.parametrize(
    ("text", "count"),
    [("0 B", 0), ("1B", 1), ("50 GB", 50_000_000_000), ("1.5 KiB", 1536), ("2e3 kB", 2_000_000), (" 1 TiB ", 2**40)],
)
def test_a_number_of_bytes_is_read_from_text(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "50", "50 G", "50 Gb", "50 GB/s", "50 Gbit", "-1 B", "GB", "1e400 B"])
def test_text_that_is_no_number_of_bytes_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_bytes(text)
    assert str(raised.value) == f"{text!r} must be a whole number of bytes, or text such as '50 GB', '50 GiB'"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (50_000_000_000, "50 GB"), (50_000_000_001, "50000000001 B")]
)
def test_bytes_are_formatted_with_a_prefix_where_that_is_exact(count: int, text: str) -> None:
    assert format_bytes(count) == text


@examples(100)
@given(st.integers(0, 2**53))
def test_formatted_bytes_are_parsed_to_the_same_number(count: int) -> None:
    assert parse_bytes(format_bytes(count)) == count
