"""The recipe: its arguments, what it shows, and what it opens."""

import re
import ssl
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import trioedge as te
import trustme
from trioedge.testing import check_plugin, make_context

from trioedge_crowdsec import CrowdSec
from trioedge_crowdsec.lapi import USER_AGENT

PACKAGE = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"poll_seconds": 0.5}, "CrowdSec(poll_seconds=0.5) must be a number of at least 1 and at most 3600"),
        ({"poll_seconds": 3601}, "CrowdSec(poll_seconds=3601) must be a number of at least 1 and at most 3600"),
        ({"poll_seconds": float("nan")}, "CrowdSec(poll_seconds=nan) must be a number of at least 1 and at most 3600"),
        ({"poll_seconds": "10"}, "CrowdSec(poll_seconds='10') must be a number of at least 1 and at most 3600"),
        ({"poll_seconds": True}, "CrowdSec(poll_seconds=True) must be a number of at least 1 and at most 3600"),
        ({"types": "ban"}, "CrowdSec(types='ban') must be a list of types, as in ['ban', 'captcha']"),
        ({"until_ready": "wait"}, "CrowdSec(until_ready='wait') must be 'accept' or 'reject'"),
        ({"until_ready": None}, "CrowdSec(until_ready=None) must be 'accept' or 'reject'"),
        ({"cut_live": 1}, "CrowdSec(cut_live=1) must be true or false"),
        ({"plain_http": "yes"}, "CrowdSec(plain_http='yes') must be true or false"),
        ({"ca": "ca.pem"}, "CrowdSec(ca='ca.pem') is for https://: leave it out, or change url="),
    ],
)
def test_a_wrong_argument_is_one_line_with_its_mend(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(te.ConfigurationError) as error:
        CrowdSec("key", **options)
    assert str(error.value) == fault


@pytest.mark.parametrize("ca", ["/no/such/file", "/", __file__, 5])
def test_authorities_that_cannot_be_read_are_refused(ca: Any) -> None:
    with pytest.raises(te.ConfigurationError, match=rf"CrowdSec\(ca={re.escape(repr(str(ca)))}\) cannot be read"):
        CrowdSec("key", "https://crowdsec.example", ca=ca)


def test_authorities_of_a_file_are_trusted_in_place_of_the_systems(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    recipe = CrowdSec("key", "https://crowdsec.example", ca=tmp_path / "ca.pem")
    trust = recipe.lapi()._trust
    assert isinstance(trust, ssl.SSLContext)
    assert len(trust.get_ca_certs()) == 1
    assert trust.verify_mode is ssl.CERT_REQUIRED
    assert trust.check_hostname


def test_its_text_has_no_key() -> None:
    recipe = CrowdSec("0123456789abcdef", types=["ban", "captcha"])
    assert repr(recipe) == "CrowdSec(url='http://127.0.0.1:8080', types=['ban', 'captcha'])"
    assert "0123456789abcdef" not in repr(vars(recipe)) + repr(recipe.open(make_context()))


def test_crowdsec_is_told_the_version_of_the_package() -> None:
    assert f"trioedge-crowdsec/v{version('trioedge-crowdsec')}" == USER_AGENT


def test_importing_it_imports_no_http_client() -> None:
    code = "import sys, trioedge_crowdsec; print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "False\n"


def test_the_example_is_an_edge_that_refuses_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROWDSEC_KEY", "key")
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile((PACKAGE / "example.py").read_text(), "example.py", "exec"), names)
    assert isinstance(names["edge"], te.Edge)


def test_the_file_is_an_edge_with_the_same_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROWDSEC_KEY", "0123456789abcdef")
    command = [sys.executable, "-m", "trioedge", "check", str(PACKAGE / "edge.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert "1. CrowdSec(url='http://127.0.0.1:8080', types=['ban'])" in done.stdout
    assert "0123456789abcdef" not in done.stdout + done.stderr


def test_it_keeps_the_promises_of_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROWDSEC_KEY", "0123456789abcdef")
    check_plugin("crowdsec", key=te.Secret(env="CROWDSEC_KEY"))


def test_the_readme_shows_both_examples() -> None:
    readme = (PACKAGE / "README.md").read_text()
    assert (PACKAGE / "example.py").read_text() in readme
    assert (PACKAGE / "edge.toml").read_text() in readme
