"""HttpControl against the example control plane: snapshots, checks, reports, several edges at once, cancels."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from examples.control_plane.store import Store
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.control_planes import Scripted, example, running, snapshot
from tests.support.fake_link import FakeLink
from tests.support.ports import closed_port
from trioedge.control import arrivals
from trioedge.control import http as module
from trioedge.control.http import MAX_CHECKS, HttpControl
from trioedge.control.http_client import NoAnswerError
from trioedge.errors import ConfigurationError
from trioedge.services.control_plane import ChecksDevices, ControlPlane, DeviceVerdict, TakesReports
from trioedge.services.policy import Policy, Settings
from trioedge.services.report import Report, Usage
from trioedge.services.snapshot import Snapshot

SHOP, CAFE = {"name": "shop", "session_rate": 20}, {"name": "cafe"}
HAS_SHOP = {"shop": Settings(Policy(session_rate=20))}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "SOONEST_SECONDS", 0.01)
    monkeypatch.setattr(arrivals, "AHEAD_SECONDS", 1.0)  # no snapshot of these tests takes that long by itself


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store(":memory:")
    store.put("shop", {"session_rate": 20})
    yield store
    store.close()


async def put(url: str, name: str, settings: dict[str, Any] | None) -> None:
    """Change a service as an operator does."""
    method, body = ("DELETE", []) if settings is None else ("PUT", ["-d", json.dumps(settings)])
    await trio.run_process(["curl", "-sSf", "-X", method, f"{url}/services/{name}", *body])


@pytest.mark.peer("curl")
async def test_a_change_of_a_service_is_applied_as_it_happens(store: Store) -> None:
    async with example(store) as url, running(HttpControl(url)) as link:
        await link.until(lambda link: link.reaches)
        assert link.snapshots == [Snapshot(HAS_SHOP, version=store.version)]
        await put(url, "cafe", {"enabled": False})
        await link.until(lambda link: "cafe" in link.services)
        await put(url, "shop", None)
        await link.until(lambda link: "shop" not in link.services)
        assert link.services == {"cafe": Settings(Policy(enabled=False))}
        assert [snapshot.full for snapshot in link.snapshots] == [True, False, False]
        assert link.errors == []


async def test_the_edge_starts_with_the_first_snapshot(store: Store) -> None:
    link = FakeLink()
    async with example(store) as url, trio.open_nursery() as nursery:
        with trio.fail_after(5):
            await nursery.start(HttpControl(url).run, link)
        assert link.services == HAS_SHOP
        nursery.cancel_scope.cancel()


async def test_an_answer_without_news_is_followed_by_the_next_request(store: Store) -> None:
    async with example(store) as url, running(HttpControl(url, wait_seconds=0.05)) as link:
        await link.until(lambda link: link.reaches == 4)
        assert len(link.snapshots) == 1


async def test_a_control_plane_that_is_down_at_first_is_asked_until_it_answers(store: Store) -> None:
    port = closed_port()
    async with running(HttpControl(f"http://127.0.0.1:{port}")) as link:
        await link.until(lambda link: len(link.errors) == 2)
        assert f"GET http://127.0.0.1:{port}/v1/snapshot: " in link.errors[0]
        assert link.reaches == 0
        async with example(store, port=port):
            await link.until(lambda link: link.reaches)
            assert link.services == HAS_SHOP


async def test_after_a_restart_only_the_changes_are_applied(store: Store) -> None:
    async with trio.open_nursery() as nursery:
        async with example(store) as url:
            control = HttpControl(url)
            link = FakeLink()
            await nursery.start(control.run, link)
        await link.until(lambda link: link.errors)
        store.put("cafe", {})
        async with example(store, port=int(url.rpartition(":")[2])):
            await link.until(lambda link: "cafe" in link.services)
        assert link.snapshots[1:] == [Snapshot({"cafe": Settings()}, full=False, version=store.version)]
        nursery.cancel_scope.cancel()


async def test_a_control_plane_that_is_back_is_known_to_be_before_it_has_news(store: Store) -> None:
    async with trio.open_nursery() as nursery:
        async with example(store) as url:
            link = FakeLink()
            await nursery.start(HttpControl(url).run, link)
        await link.until(lambda link: link.errors)
        reaches = link.reaches
        async with example(store, port=int(url.rpartition(":")[2])):
            await link.until(lambda link: link.reaches > reaches)
        nursery.cancel_scope.cancel()


async def test_a_control_plane_with_another_database_sends_all_and_the_difference_is_applied(store: Store) -> None:
    """It does not know the version that the edge has."""
    other = Store(":memory:")
    for name in ("shop", "bank"):
        other.put(name, {"session_rate": 20})
    store.put("cafe", {})
    async with trio.open_nursery() as nursery:
        async with example(store) as url:
            link = FakeLink()
            await nursery.start(HttpControl(url).run, link)
        async with example(other, port=int(url.rpartition(":")[2])):
            await link.until(lambda link: "bank" in link.services)
        assert link.snapshots[1:] == [
            Snapshot(
                {"bank": Settings(Policy(session_rate=20))},
                frozenset({"cafe"}),
                full=False,
                allow_removal=False,
                version=other.version,
            )
        ]
        nursery.cancel_scope.cancel()
    other.close()


async def test_device_checks_are_answered_and_reports_are_stored(store: Store) -> None:
    store.put("shop", {"device_limit": 1})
    store.deny("shop", "192.0.2.9", True)
    async with example(store, token="secret") as url:
        control = HttpControl(url, token="secret")
        async with running(control) as link:
            await link.until(lambda link: link.reaches)
            assert await control.check_device("shop", "192.0.2.1") == DeviceVerdict(True, 60.0)
            assert await control.check_device("shop", "192.0.2.1") == DeviceVerdict(True, 60.0)
            assert await control.check_device("shop", "192.0.2.2") == DeviceVerdict(False, 60.0, "1 devices already")
            assert await control.check_device("shop", "192.0.2.9") == DeviceVerdict(False, 60.0, "denied")
            await control.report(Report("edge-1", "a", 2, (Usage("shop", 1, 10, 20, 3, 1, 1),)))
            await control.report(Report("edge-1", "a", 1, (Usage("shop", 1, 5, 5, 5, 1, 1),)))
            await control.report(Report("edge-1", "b", 1, (Usage("shop", 1, 1, 2, 3, 1, 1),)))
    assert store.totals("shop") == {"bytes_up": 11, "bytes_down": 22, "opened": 6}


async def test_a_thousand_services_are_one_report(store: Store) -> None:
    usage = tuple(Usage(f"s{number}", 1, number, 0, 1, 1, 1) for number in range(1000))
    async with example(store) as url:
        control = HttpControl(url)
        async with running(control) as link:
            await link.until(lambda link: link.reaches)
            await control.report(Report("edge-1", "a", 1, usage))
    assert store.totals("s999")["bytes_up"] == 999


async def test_slow_device_checks_delay_neither_snapshots_nor_reports(store: Store) -> None:
    async with example(store, delay=30) as url:
        control = HttpControl(url, check_seconds=30)
        async with running(control) as link, trio.open_nursery() as nursery:
            await link.until(lambda link: link.reaches)
            for number in range(2 * MAX_CHECKS):
                nursery.start_soon(control.check_device, "shop", f"192.0.2.{number}")
            await trio.sleep(0.1)
            with trio.fail_after(2):
                await control.report(Report("edge-1", "a", 1, (Usage("shop", 1, 10, 20, 3, 1, 1),)))
            await put(url, "cafe", {})
            with trio.fail_after(2):
                await link.until(lambda link: "cafe" in link.services)
            nursery.cancel_scope.cancel()


async def test_a_token_that_is_refused_is_not_in_any_message(store: Store) -> None:
    async with example(store, token="secret") as url:
        for token, complaint in (("hunter2", "the token is refused"), (None, "it wants a token")):
            control = HttpControl(url, token=token)
            async with running(control) as link:
                await link.until(lambda link: link.errors)
                assert link.errors[0] == f"GET {url}/v1/snapshot: {complaint}"
                with pytest.raises(NoAnswerError) as caught:
                    await control.check_device("shop", "192.0.2.1")
            assert "hunter2" not in f"{link.errors} {caught.value} {control!r}"


@pytest.mark.peer("openssl")
async def test_a_control_plane_is_trusted_by_its_certificate(store: Store, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    await trio.run_process(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        capture_stderr=True,
    )  # fmt: skip
    async with example(store, keyfile=str(key), certfile=str(certificate)) as url:
        assert url.startswith("https://")
        async with running(HttpControl(url, ca=certificate)) as link:
            await link.until(lambda link: link.reaches)
            assert link.services == HAS_SHOP
        async with running(HttpControl(url)) as link:
            await link.until(lambda link: link.errors)
            assert "certificate verify failed" in link.errors[0]


async def serve_until(control: HttpControl, link: FakeLink, end: trio.CancelScope) -> None:
    """Serve one edge until its scope is cancelled."""
    with end:
        await control.run(link)


async def test_two_links_at_once_have_their_own_snapshots_and_share_the_rest(store: Store) -> None:
    first, second, first_edge = FakeLink(), FakeLink(), trio.CancelScope()
    async with example(store) as url, trio.open_nursery() as nursery:
        control = HttpControl(url, wait_seconds=0.05)
        nursery.start_soon(serve_until, control, first, first_edge)
        await first.until(lambda link: link.reaches)
        store.put("cafe", {})
        nursery.start_soon(control.run, second)
        await second.until(lambda link: link.reaches)
        await first.until(lambda link: "cafe" in link.services)
        assert [snapshot.full for snapshot in first.snapshots] == [True, False]
        assert [snapshot.full for snapshot in second.snapshots] == [True], "a link that comes later has all at once"
        first_edge.cancel()
        assert (await control.check_device("shop", "192.0.2.1")).accept, "the other edge runs on"
        await control.report(Report("edge-2", "a", 1, (Usage("shop", 1, 10, 20, 3, 1, 1),)))
        store.put("bank", {})
        await second.until(lambda link: "bank" in link.services)
        assert "bank" not in first.services
        nursery.cancel_scope.cancel()
    assert (first.errors, second.errors) == ([], [])
    with pytest.raises(NoAnswerError, match="the client is not open"):
        await control.check_device("shop", "192.0.2.1")


async def test_a_link_that_refuses_leaves_the_other_as_it_is(store: Store) -> None:
    first, second = FakeLink(), FakeLink()
    async with example(store) as url, trio.open_nursery() as nursery:
        control = HttpControl(url, wait_seconds=0.05)
        for link in (first, second):
            nursery.start_soon(control.run, link)
            await link.until(lambda link: link.reaches)
        second.refuses = ("services.cafe: no",)
        store.put("cafe", {})
        await first.until(lambda link: "cafe" in link.services)
        await second.until(lambda link: link.errors)
        assert (first.errors, second.services) == ([], HAS_SHOP)
        second.refuses = ()
        await second.until(lambda link: "cafe" in link.services)
        nursery.cancel_scope.cancel()


async def test_the_limit_of_device_checks_is_for_all_links_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CHECKS", 2)
    async with example(store, delay=0.2) as url:
        control = HttpControl(url)
        async with running(control) as first, running(control) as second:
            for link in (first, second):
                await link.until(lambda link: link.reaches)
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(control.check_device, "shop", f"192.0.2.{number}")
        assert trio.current_time() - began >= 0.6, "three rounds of two"


async def test_while_no_edge_runs_checks_and_reports_fail() -> None:
    control = HttpControl("http://127.0.0.1:9")
    async with running(control) as link:
        await link.until(lambda link: link.errors)
    for ask in (
        partial(control.check_device, "shop", "192.0.2.1"),
        partial(control.report, Report("edge-1", "a", 1, ())),
    ):
        with pytest.raises(NoAnswerError, match="the client is not open"):
            await ask()


async def test_a_cancel_at_any_moment_takes_no_time(store: Store) -> None:
    async with example(store) as url:
        for seconds in (0, 0.001, 0.005, 0.02, 0.2):
            with trio.move_on_after(seconds) as scope:
                await HttpControl(url).run(FakeLink())
            assert scope.cancelled_caught
            assert trio.current_time() - scope.deadline < 0.5


async def test_a_cancel_at_any_step_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it connects, receives and applies a snapshot, and refuses one with a fault: a hundred times, a second.

    Work on a snapshot pauses after every step, so that a cancel can come between any two.
    """
    monkeypatch.setattr(module, "SOONEST_SECONDS", 0.0)
    monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", 1e-9)
    links: list[FakeLink] = []

    async def live() -> None:
        plane = Scripted(snapshot([SHOP, CAFE]), snapshot([CAFE, {"name": "shop", "session_rate": 0}], "2"))
        async with plane.serving() as url, running(HttpControl(url)) as link:
            links.append(link)
            await link.until(lambda link: link.errors)

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before
        assert [len(each.services) for each in links[-1].snapshots] in ([], [2]), "all of it or nothing"

    assert await cancel_at_every_step(live, check) > 40
    assert "snapshot refused" in links[-1].errors[0]


async def test_one_object_serves_one_edge_after_another(store: Store) -> None:
    async with example(store) as url:
        control = HttpControl(url)
        for _ in range(2):
            async with running(control) as link:
                await link.until(lambda link: link.reaches)
                assert link.snapshots == [Snapshot(HAS_SHOP, version=store.version)]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"url": 3}, "HttpControl(url=...) is no URL"),
        ({"url": "https://control.example:x"}, "is no URL"),
        ({"url": "https://user:secret@control.example:x"}, "is no URL"),
        ({"url": "https://control.example:99999"}, "must be like"),
        ({"url": "https://control.example:0"}, "must be like"),
        ({"url": "control.example"}, "must be like 'https://control.example'"),
        ({"url": "ftp://control.example"}, "HttpControl('ftp://control.example') must be like"),
        ({"url": "https://"}, "must be like"),
        ({"url": "https://control.example/?a=1"}, "must be like"),
        ({"url": "https://control.example/#a"}, "must be like"),
        ({"url": "http://control.example"}, "lets the network in between change policies: use https://"),
        ({"url": "http://control.example", "token": "secret"}, "would send the token in clear text: use https://"),
        ({"url": "http://control.example", "token": "secret", "plain_http": True}, "would send the token"),
        ({"url": "https://user:secret@control.example"}, "a password goes into token="),
        ({"token": "secret\n"}, "HttpControl(token=...) must be printable ASCII"),
        ({"token": "secret secret"}, "printable ASCII"),
        ({"token": "secrét"}, "printable ASCII"),
        ({"token": ""}, "printable ASCII"),
        ({"ca": "/nowhere.pem"}, "HttpControl(ca='/nowhere.pem') cannot be read"),
        ({"wait_seconds": -1}, "wait_seconds=-1"),
        ({"check_seconds": 0}, "check_seconds=0"),
    ],
)
def test_a_wrong_argument_is_refused_without_its_secret(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpControl(**{"url": "https://control.example"} | arguments)
    assert complaint in str(caught.value)
    assert "secr" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.9.9.9", "http://[::1]:9", "http://localhost:9"])
def test_this_machine_may_be_asked_over_plain_http_with_a_token(url: str) -> None:
    assert repr(HttpControl(url, token="secret")) == f"HttpControl({url!r}, token=...)"


def test_another_machine_may_be_asked_over_plain_http_with_plain_http() -> None:
    assert repr(HttpControl("http://control.example/", plain_http=True)) == "HttpControl('http://control.example')"


def test_it_names_services_checks_devices_and_takes_reports() -> None:
    control = HttpControl("https://control.example/edges")
    assert isinstance(control, ControlPlane)
    assert isinstance(control, ChecksDevices)
    assert isinstance(control, TakesReports)
    assert repr(control) == "HttpControl('https://control.example/edges')"
    assert (
        repr(HttpControl("https://control.example", token="x")) == "HttpControl('https://control.example', token=...)"
    )
