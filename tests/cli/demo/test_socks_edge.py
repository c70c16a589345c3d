"""The demo's SOCKS edge: who may come, and where to."""

import pytest

from trioedge.cli.demo import socks_edge
from trioedge.testing import make_session


@pytest.mark.parametrize(
    ("user", "password", "right"),
    [
        ("alice", "demo", True),
        ("alice", "Demo", False),
        ("alice", "", False),
        ("mallory", "demo", False),
        ("", "", False),
        ("alice", "dem\udcff", False),
    ],
)
def test_a_login_needs_a_user_and_its_password(user: str, password: str, right: bool) -> None:
    assert socks_edge.login(make_session(), user, password) is right
