from pathlib import Path

import pytest

import trioedge as te
from trioedge.secrets import MAX_BYTES, secret_text


def test_a_file_is_read_at_each_use_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "token"
    secret = te.Secret(file=file)
    for text, read in (("abc\n", "abc"), ("abc\r\n", "abc"), (" a b ", " a b "), ("ä\n\n", "ä\n")):
        file.write_text(text, newline="")
        assert secret.read() == read
    assert "abc" not in repr(secret)


def test_a_variable_is_read_at_each_use(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = te.Secret(env="PANEL_TOKEN")
    monkeypatch.setenv("PANEL_TOKEN", "one")
    assert secret.read() == "one"
    monkeypatch.setenv("PANEL_TOKEN", "two")
    assert secret.read() == "two"
    assert repr(secret) == "Secret(env='PANEL_TOKEN')"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "is no text of UTF-8"),
        (b"x" * (MAX_BYTES + 1), "has more than 65,536 bytes"),
    ],
)
def test_a_file_without_a_secret_is_one_line_that_names_it(tmp_path: Path, raw: bytes | None, says: str) -> None:
    file = tmp_path / "token"
    if raw is not None:
        file.write_bytes(raw)
    with pytest.raises(te.ConfigurationError, match=says) as error:
        te.Secret(file=file).read()
    assert str(file) in str(error.value)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PANEL_TOKEN", raising=False)
    with pytest.raises(te.ConfigurationError, match=r"Secret\(env='PANEL_TOKEN'\) is not set, or is empty"):
        te.Secret(env="PANEL_TOKEN").read()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"file": "a", "env": "b"},
        {"file": ""},
        {"env": ""},
        {"file": 3},
        {"env": 3},
        {"env": ["A"]},
        {"env": "a", "credential": "b"},
        {"credential": ""},
        {"credential": 3},
        {"credential": "a/b"},
        {"credential": ".."},
        {"credential": "."},
        {"credential": "a\n"},
        {"credential": "x" * 256},
    ],
)
def test_one_place_is_needed(given: dict[str, object]) -> None:
    with pytest.raises(te.ConfigurationError):
        te.Secret(**given)  # type: ignore[arg-type]  # on purpose


def test_a_credential_of_a_unit_is_read_at_each_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = te.Secret(credential="panel.token")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for text in ("one", "two"):
        (tmp_path / "panel.token").write_text(f"{text}\n")
        assert secret.read() == text
    assert repr(secret) == "Secret(credential='panel.token')"


def test_a_credential_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = te.Secret(credential="token")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(te.ConfigurationError, match=r"Secret\(credential='token'\) cannot be read: No such file"):
        secret.read()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(
        te.ConfigurationError, match=r"Secret\(credential='token'\) needs the variable CREDENTIALS_DIREC"
    ):
        secret.read()


def test_text_is_its_own_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANEL_TOKEN", "one")
    assert secret_text("plain") == "plain"
    assert secret_text(te.Secret(env="PANEL_TOKEN")) == "one"


def test_a_control_plane_takes_a_secret_and_does_not_show_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("abcdefgh\n")
    monkeypatch.setenv("PANEL_TOKEN", "abcdefgh")
    for secret in (te.Secret(file=file), te.Secret(env="PANEL_TOKEN")):
        assert "abcdefgh" not in repr(te.HttpControl("https://control.example", token=secret))
    with pytest.raises(te.ConfigurationError, match="is not set"):
        te.HttpControl("https://control.example", token=te.Secret(env="NO_SUCH_TOKEN"))
