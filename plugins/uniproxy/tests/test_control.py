"""The control plane by itself: its promises to the edge, the token that is nowhere, and one edge for each."""

import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
import trioedge as te
import trustme
from fake_panel import ALICE, BOB, TOKEN, FakePanel, user
from socks_edge import node, until
from structlog.testing import capture_logs
from trioedge.testing import FakeLink, check_control

from trioedge_uniproxy import UniProxyControl
from trioedge_uniproxy import control as module


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_SECONDS", 0.01)
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.02)


async def test_it_keeps_the_promises_of_a_control_plane() -> None:
    async with FakePanel(user(7, ALICE, 8, 2), user(8, BOB)).open() as panel:
        await check_control(UniProxyControl(panel.url, TOKEN, 1))


def test_it_is_all_that_it_says() -> None:
    control = UniProxyControl("https://panel.example", TOKEN, 1)
    for kind in (te.ControlPlane, te.FollowsDevices, te.NamesUsers, te.Reloads, te.TakesReports):
        assert isinstance(control, kind)
    assert not isinstance(control, te.ChecksDevices)  # so a device needs no grace


async def test_one_object_is_one_node() -> None:
    async with FakePanel(user(7, ALICE)).open() as panel, trio.open_nursery() as nursery:
        control = UniProxyControl(panel.url, TOKEN, 1)
        await nursery.start(control.run, FakeLink())
        with pytest.raises(te.ConfigurationError, match=r"is one node of the panel: make another one for each edge$"):
            await control.run(FakeLink())
        nursery.cancel_scope.cancel()


async def test_it_may_be_run_again_for_another_edge() -> None:
    async with FakePanel(user(7, ALICE)).open() as panel:
        control = UniProxyControl(panel.url, TOKEN, 1)
        for _ in range(2):
            link = FakeLink()
            async with trio.open_nursery() as nursery:
                await nursery.start(control.run, link)
                assert set(link.services) == {"7"}
                nursery.cancel_scope.cancel()
        assert panel.count("GET user") == 2  # the second edge had no users, so 304 would not do


async def test_a_device_beyond_the_limit_on_all_nodes_is_denied_within_came() -> None:
    panel, link = FakePanel(user(7, ALICE, None, 2), user(8, BOB)), FakeLink()
    async with panel.open(), trio.open_nursery() as nursery:
        control = UniProxyControl(panel.url, TOKEN, 1)
        await nursery.start(control.run, link)
        await until(lambda: panel.count("GET alivelist"))
        panel.addresses["2"] = {"7": ["192.0.2.9"], "8": ["192.0.2.9"]}
        control.reload()
        await until(lambda: panel.count("GET alivelist") == 2)
        await trio.sleep(0.05)
        for uid, device in (("7", "192.0.2.1"), ("7", "192.0.2.2"), ("8", "192.0.2.1"), ("8", "192.0.2.2")):
            link.devices.setdefault(uid, []).append(device)
            control.came(uid, device)
        ((service, device, verdict),) = link.verdicts
        assert (service, device, verdict.accept) == ("7", "192.0.2.2", False)
        control.went("7", "192.0.2.2")
        nursery.cancel_scope.cancel()
    control.came("7", "192.0.2.3")  # between two runs nothing is judged
    assert len(link.verdicts) == 1


# The token.


@pytest.mark.parametrize("fault", [500, 403, "nonsense", "cut", "reset", "hang", "huge"])
async def test_the_token_is_in_no_line_and_in_no_error(fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    panel = FakePanel(user(7, ALICE))
    panel.faults["user"].append(fault)
    for route in ("alive", "alivelist", "config", "push", "status"):
        panel.always[route] = fault
    with capture_logs() as lines:
        async with panel.open(), node(panel, push_seconds=0.02, request_seconds=0.4) as at:
            await (await at.connect(ALICE)).talk(10)
            await trio.sleep(0.2)
            said = [*map(str, lines), at.edge.control_state().error, repr(at.control)]
    assert at.edge.control_state().error
    for text in [*said, *map(str, lines), caplog.text]:
        assert TOKEN not in text
        assert ALICE not in text
    assert "HTTP Request: GET" in caplog.text  # httpx has logged, without the token


async def test_a_wrong_token_is_said_in_the_words_of_the_panel_without_the_token() -> None:
    panel, link = FakePanel(user(7, ALICE)), FakeLink()
    async with panel.open(), trio.open_nursery() as nursery:
        nursery.start_soon(UniProxyControl(panel.url, "a-wrong-token", 1).run, link)
        await until(lambda: link.errors)
        nursery.cancel_scope.cancel()
    assert link.errors[0].endswith("/user: status 500: 'token is error: …'")


async def test_a_token_that_is_renewed_counts_from_the_next_request(tmp_path: Path) -> None:
    panel, link, place = FakePanel(user(7, ALICE)), FakeLink(), tmp_path / "token"
    place.write_text("the-former\n")
    async with panel.open(), trio.open_nursery() as nursery:
        nursery.start_soon(UniProxyControl(panel.url, te.Secret(file=place), 1).run, link)
        await until(lambda: link.errors)
        place.unlink()
        await until(lambda: "cannot be read" in link.errors[-1])
        place.write_text(TOKEN)
        await until(lambda: link.services)
        nursery.cancel_scope.cancel()
    assert TOKEN not in "".join(link.errors)


# TLS.


async def test_a_panel_is_trusted_by_its_certificate(tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    panel = FakePanel(user(7, ALICE))
    async with panel.open(context):
        async with node(panel, ca=str(tmp_path / "ca.pem")) as at:
            await (await at.connect(ALICE)).talk(1000)
        assert dict(panel.books) == {"7": [1000, 2000]}
        link = FakeLink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(UniProxyControl(panel.url, TOKEN, 1).run, link)
            await until(lambda: link.errors)
            nursery.cancel_scope.cancel()
        assert "certificate" in link.errors[0].lower()
