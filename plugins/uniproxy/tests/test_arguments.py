"""The arguments of the control plane: each fault is one line that says how to mend it, and the token is in none."""

import re
from pathlib import Path
from typing import Any

import pytest
import trioedge as te

from trioedge_uniproxy import UniProxyControl

URL = "https://panel.example"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"url": "panel.example"}, "url=…) must be like 'https://panel.example'"),
        ({"url": "ftp://panel.example"}, "url=…) must be like"),
        ({"url": "https://"}, "url=…) must be like"),
        ({"url": "https://panel.example:99999"}, "url=…) must be like"),
        ({"url": "https://panel.example/a b"}, "url=…) must be like"),
        ({"url": 5}, "url=…) must be like"),
        ({"url": "https://me@panel.example"}, "without a user and a query: the token goes into token="),
        ({"url": "https://panel.example?token=x"}, "without a user and a query: the token goes into token="),
        ({"url": "http://panel.example"}, "'http://panel.example') would send the token in clear text: use https://"),
        ({"url": "http://192.0.2.1:80"}, "would send the token in clear text"),
        ({"token": ""}, 'token=…) must be the token of the panel, or its place: te.Secret(file="…")'),
        ({"token": 5}, "token=…) must be the token"),
        ({"token": "a\nb"}, "token=…) must be the token"),
        ({"node_id": 0}, "node_id=0) must be the number of the node"),
        ({"node_id": True}, "node_id=True) must be the number of the node"),
        ({"node_id": "a b"}, "node_id='a b') must be the number of the node"),
        ({"node_type": None}, "node_type=None) must be text without blanks"),
        ({"path": "api"}, "path='api') must be the path of the interface, as in '/api/v1/server/UniProxy'"),
        ({"path": "/api?x"}, "path='/api?x') must be the path"),
        ({"ca": ""}, "ca='') must be the path of a file of certificates"),
        ({"plain_http": 1}, "plain_http=1) must be true or false"),
        ({"allow_removal": "yes"}, "allow_removal='yes') must be true or false"),
        ({"request_seconds": 0}, "request_seconds=0) must be a number above 0 and at most 3600"),
        ({"request_seconds": float("nan")}, "request_seconds=nan) must be a number above 0"),
        ({"pull_seconds": 1}, "pull_seconds=1) must be a number of at least 5 and at most 3600"),
        ({"push_seconds": 3601}, "push_seconds=3601) must be a number of at least 5 and at most 3600"),
        ({"push_seconds": "60"}, "push_seconds='60') must be a number of at least 5"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(te.ConfigurationError, match=f"^UniProxyControl\\(.*{re.escape(fault)}") as caught:
        UniProxyControl(**{"url": URL, "token": "a-secret", "node_id": 7, **arguments})
    assert "a-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "http://127.0.0.1:8000"}, {"url": "http://[::1]"}, {"url": "http://localhost/panel/"},
        {"url": "http://panel.example", "plain_http": True}, {"node_id": "7"}, {"node_type": ""},
        {"path": "/api/v2/server"}, {"token": te.Secret(env="PANEL")}, {"pull_seconds": 5, "push_seconds": 300.0},
    ],
)  # fmt: skip
def test_good_arguments_open_nothing(arguments: dict[str, Any]) -> None:
    UniProxyControl(**{"url": URL, "token": "a-secret", "node_id": 7, **arguments})


def test_it_is_shown_without_its_token() -> None:
    control = UniProxyControl(f"{URL}/", "a-secret", 7)
    assert repr(control) == "UniProxyControl('https://panel.example/api/v1/server/UniProxy', node_id='7')"


async def test_a_place_without_a_token_keeps_the_edge_from_starting(tmp_path: Path) -> None:
    control = UniProxyControl("http://127.0.0.1:1", te.Secret(file=tmp_path / "token"), 7)
    edge = te.Edge("tcp://127.0.0.1:0", [te.Socks(auth="services")], te.Forward(), control=control)
    with pytest.raises(te.ConfigurationError, match=r"^Secret\(file=.*\) cannot be read"):
        await alone(edge)
    (tmp_path / "token").write_text("a\x00b")
    with pytest.raises(te.ConfigurationError, match=r"is no token: it has letters that cannot be printed$"):
        await alone(edge)


async def test_certificates_that_cannot_be_read_keep_the_edge_from_starting(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for path, why in ((tmp_path / "missing.pem", "No such file"), (tmp_path / "empty.pem", "it has no certificates")):
        control = UniProxyControl("https://127.0.0.1:1", "a-secret", 7, ca=str(path))
        edge = te.Edge("tcp://127.0.0.1:0", [te.Socks(auth="services")], te.Forward(), control=control)
        with pytest.raises(te.ConfigurationError, match=f"ca=.*cannot be used: {why}"):
            await alone(edge)


async def alone(edge: te.Edge) -> None:
    """Serve an edge that does not start, and raise its error, which a nursery has put into a group."""
    try:
        await edge.serve()
    except BaseException as fault:
        while isinstance(fault, BaseExceptionGroup):
            (fault,) = fault.exceptions
        raise fault from None
