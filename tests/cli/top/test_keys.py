import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.cli.top.keys import ESCAPED, PLAIN, keys


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b"q", ["q"]),
        (b"\x1b[A\x1b[Bx", ["up", "down", "x"]),
        (b"\x1bOA\t\r\x1b[Z", ["up", "tab", "enter", "backtab"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[5~\x1b[6~\x1b[1~", ["pageup", "pagedown", "home"]),
        (b"\x1b[1;5A\x1b[24~e", ["e"]),  # with Ctrl, and F12
        (b"\x03\x04", ["q", "q"]),
        ("ü".encode(), ["ü"]),
        (b"\xff", ["\ufffd"]),
    ],
)
def test_bytes_are_keys(data: bytes, found: list[str]) -> None:
    assert list(keys(data)) == found


@given(st.binary(max_size=40))
def test_no_bytes_are_more_than_keys(data: bytes) -> None:
    named = {*ESCAPED.values(), *PLAIN.values()}
    assert all(key in named or len(key) == 1 for key in keys(data))
