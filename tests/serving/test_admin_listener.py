"""Where the admin API listens."""

from pathlib import Path
from typing import Any

import pytest

import trioedge as te
from trioedge.config.edge_file import read_edge_file
from trioedge.config.to_toml import toml_of
from trioedge.serving.admin_listener import read_admin

TOKEN = te.Secret(env="TOKEN")
WRONG: Any = "a text"
HEAD = '[edge.a]\nlisten = "tcp://127.0.0.1:6380"\nendpoint = { use = "forward", to = "tcp://127.0.0.1:1" }\n'


@pytest.mark.parametrize(
    ("admin", "fault"),
    [
        (lambda: te.Admin("tcp://127.0.0.1:9100"), "is open to a network and needs a token: write token=te.Secret"),
        (lambda: te.Admin("unix:///x", token=WRONG), "must be a Secret, so that no log shows it"),
        (lambda: te.Admin("127.0.0.1:9100"), "must begin with tcp:// or unix://"),
        (lambda: read_admin("tcp://127.0.0.1:9100"), r"admin='tcp://127.0.0.1:9100': Admin\(listen="),
        (lambda: read_admin(7), r"admin=7 must be a local socket, as in unix:///run/edge.sock, or te.Admin"),
    ],
)  # fmt: skip
def test_a_wrong_listener_names_its_mend(admin: Any, fault: str) -> None:
    with pytest.raises(te.ConfigurationError, match=fault):
        admin()


def test_a_local_socket_needs_no_token_and_may_have_one() -> None:
    assert read_admin(None) is None
    plain = read_admin("unix:///run/edge.sock")
    assert plain is not None
    assert (plain.listen, plain.token, repr(plain)) == ("unix:///run/edge.sock", None, "Admin('unix:///run/edge.sock')")
    both = te.Admin("unix:///run/edge.sock", token=TOKEN)
    assert read_admin(both) is both
    assert repr(both) == "Admin('unix:///run/edge.sock', token=Secret(env='TOKEN'))"


@pytest.mark.parametrize(
    ("line", "listen", "token"),
    [
        ('admin = "unix:///run/edge.sock"', "unix:///run/edge.sock", None),
        ('admin = { listen = "tcp://127.0.0.1:9100", token = { env = "TOKEN" } }', "tcp://127.0.0.1:9100", "TOKEN"),
    ],
)
def test_a_file_says_it_as_text_or_as_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, listen: str, token: str | None
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    path = tmp_path / "edge.toml"
    path.write_text(f"{HEAD}{line}\n")
    edge = read_edge_file(path).edges["a"]
    found = edge.description.admin_listener
    assert found is not None
    assert (found.listen, None if found.token is None else found.token.env) == (listen, token)
    assert line in toml_of(edge)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('admin = { listen = "tcp://127.0.0.1:9100" }', "needs a token"),
        ('admin = { listen = "unix:///x", token = "hunter2" }', "admin.token"),
        ("admin = 7", "admin"),
        ("admin = { token = { env = 'X' } }", "needs listen"),
    ],
)
def test_a_file_with_a_fault_names_its_place(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(f"{HEAD}{line}\n")
    with pytest.raises(te.ConfigurationError) as raised:
        read_edge_file(path)
    assert fault in str(raised.value)
    assert "hunter2" not in str(raised.value)
