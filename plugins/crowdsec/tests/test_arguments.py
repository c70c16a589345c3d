"""Arguments that are wrong: each is one line that names it and its mend."""

from typing import Any

import pytest
import trioedge as te

from trioedge_crowdsec.arguments import check_key, check_types, check_url
from trioedge_crowdsec.errors import LapiError


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
        ("http://127.9.9.9:1", "http://127.9.9.9:1"),
        ("http://[::1]:8080/lapi/", "http://[::1]:8080/lapi"),
        ("https://crowdsec.example:8443/a/b", "https://crowdsec.example:8443/a/b"),
        ("HTTPS://Crowdsec.Example", "https://Crowdsec.Example"),
    ],
)
def test_a_good_url_is_a_base_for_routes(url: str, base: str) -> None:
    assert check_url(url, plain_http=False) == base


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "must be like"),
        ("crowdsec", "must be like"),
        ("127.0.0.1:8080", "must be like|no URL"),
        ("ftp://127.0.0.1", "must be like"),
        ("unix:///run/crowdsec.sock", "must be like"),
        ("http://", "must be like"),
        ("http://:8080", "must be like"),
        ("http://127.0.0.1:0", "must be like"),
        ("http://127.0.0.1:99999", "no URL"),
        ("http://127.0.0.1:x", "no URL"),
        ("http://[::1", "no URL"),
        ("https://a.example/?key=1", "must be like"),
        ("https://a.example/#x", "must be like"),
        ("https://a b.example", "must be like"),
        ("https://ä.example", "must be like"),
        (None, "must be like"),
        (8080, "must be like"),
        (b"http://127.0.0.1", "must be like"),
        ("http://crowdsec:8080", "in clear text: use https"),
        ("http://192.0.2.1", "in clear text: use https"),
        ("http://localhost.example", "in clear text: use https"),
    ],
)
def test_a_bad_url_is_refused(url: Any, fault: str) -> None:
    with pytest.raises(te.ConfigurationError, match=fault) as error:
        check_url(url, plain_http=False)
    assert str(error.value).startswith("CrowdSec(url=")
    assert "\n" not in str(error.value)


def test_clear_text_to_another_machine_is_allowed_on_demand() -> None:
    assert check_url("http://crowdsec:8080", plain_http=True) == "http://crowdsec:8080"


@pytest.mark.parametrize("url", ["https://user:hunter2@a.example", "https://hunter2@a.example:x", "//hunter2@a"])
def test_a_password_in_a_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(te.ConfigurationError, match="goes into key=") as error:
        check_url(url, plain_http=False)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "line\n", "x" * 1025, None, 5, b"key", ["key"]])
def test_a_bad_key_is_refused_and_not_shown(key: Any) -> None:
    with pytest.raises(te.ConfigurationError, match="cscli bouncers add") as error:
        check_key(key)
    assert key in ("", None, 5) or str(key) not in str(error.value)


def test_a_secret_is_read_at_each_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROWDSEC_KEY", "first")
    key = check_key(te.Secret(env="CROWDSEC_KEY"))
    assert key() == "first"
    monkeypatch.setenv("CROWDSEC_KEY", " second\n")
    assert key() == "second"
    monkeypatch.setenv("CROWDSEC_KEY", "two words")
    with pytest.raises(LapiError, match="without blanks") as error:
        key()
    assert "two words" not in str(error.value)
    monkeypatch.delenv("CROWDSEC_KEY")
    with pytest.raises(LapiError, match="not set"):
        key()


def test_a_secret_that_is_not_there_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CROWDSEC_KEY", raising=False)
    with pytest.raises(te.ConfigurationError, match=r"CROWDSEC_KEY.* is not set"):
        check_key(te.Secret(env="CROWDSEC_KEY"))


def test_types_are_in_lower_case_and_each_once() -> None:
    assert check_types(["Ban", "captcha", "ban"]) == ("ban", "captcha")


@pytest.mark.parametrize("types", [[], (), "ban", None, [""], ["ban", 5], {"ban": 1}, 5])
def test_bad_types_are_refused(types: Any) -> None:
    with pytest.raises(te.ConfigurationError, match=r"CrowdSec\(types=.* must be a list of types"):
        check_types(types)
