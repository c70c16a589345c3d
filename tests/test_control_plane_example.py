"""The example control plane: its page, its routes, its store, its command line."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

import trioedge as te
from examples.control_plane import services_file
from examples.control_plane.app import ControlPlane, faults_of
from examples.control_plane.store import FRESH_SECONDS, Store
from tests.support.control_planes import example
from tests.support.policies import Hours
from tests.support.wires import server
from trioedge.services.stage_keys import NO_KEYS, StageKeys

ROOT = Path(__file__).parents[1]
README = ROOT / "examples/control_plane/README.md"


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store(":memory:")
    yield store
    store.close()


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    async with example(store) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


def lines(response: httpx.Response) -> list[Any]:
    assert response.status_code == 200
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.mark.peer("curl")
async def test_every_command_of_its_page_works(store: Store) -> None:
    commands = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
        if line.startswith("curl")
    ]
    assert len(commands) == 11
    said = []
    async with example(store) as url:
        for command in commands:
            done = await trio.run_process(
                ["bash", "-c", command.replace("http://127.0.0.1:9000", url)], capture_stdout=True
            )
            said.append(done.stdout.decode())
    assert said[0] == ""
    assert [fault.split(" ")[0] for fault in json.loads(said[1])["faults"]] == [
        "services.default",
        "services.default.down_rate:",
    ]
    assert '{"name": "default", "down_rate": "10 MB/s", "device_limit": 3}' in said[2].splitlines()
    assert [json.loads(said[number])["accept"] for number in (3, 5)] == [True, False]
    assert json.loads(said[7]) == {"bytes_up": 0, "bytes_down": 0, "opened": 0}
    assert said[8:] == ["", "", ""]
    assert store.settings("default") is None


def test_the_edge_of_its_page_is_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    edges: list[te.Edge] = []
    monkeypatch.setattr(te, "run", edges.append)
    for block in re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL):
        exec(block, {})
    assert [repr(edge.control) for edge in edges] == ["HttpControl('http://127.0.0.1:9000')"]


async def test_a_request_with_a_version_gets_the_changes_since(client: httpx.AsyncClient, store: Store) -> None:
    store.put("shop", {"session_rate": 20})
    first = await client.get("/v1/snapshot")
    assert lines(first)[0] == {"version": store.version, "full": True}
    store.put("cafe", {})
    store.put("shop", None)
    store.put("bank", {})
    store.put("bank", None)
    news = await client.get("/v1/snapshot", headers={"If-None-Match": first.headers["ETag"]})
    assert lines(news) == [
        {"version": store.version, "full": False},
        {"removed": "bank"},
        {"name": "cafe"},
        {"removed": "shop"},
        {"end": 3},
    ]
    assert lines(await client.get("/v1/snapshot")) == [
        {"version": store.version, "full": True, "allow_removal": True},  # an operator has removed some
        {"name": "cafe"},
        {"end": 1},
    ]
    none = await client.get("/v1/snapshot", headers={"If-None-Match": news.headers["ETag"]})
    assert none.status_code == 304


@pytest.mark.parametrize("version", ['"0000.1"', '"1"', '""', "nonsense", '"{id}.999"', '"{id}.x"'])
async def test_a_request_with_an_unknown_version_gets_all_services(
    client: httpx.AsyncClient, store: Store, version: str
) -> None:
    store.put("shop", {})
    tag = version.format(id=store.version.partition(".")[0])
    answer = await client.get("/v1/snapshot", headers={"If-None-Match": tag})
    assert lines(answer)[0]["full"] is True


async def test_a_long_poll_is_answered_when_a_service_changes(client: httpx.AsyncClient, store: Store) -> None:
    tag = (await client.get("/v1/snapshot")).headers["ETag"]
    answers: list[httpx.Response] = []

    async def wait() -> None:
        answers.append(await client.get("/v1/snapshot?wait=20", headers={"If-None-Match": tag}))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(0.05)
            assert (await client.put("/services/shop", json={})).status_code == 204
    assert lines(answers[0])[1] == {"name": "shop"}


async def test_services_and_version_outlive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    store = Store(path)
    store.put("shop", {"session_rate": 20})
    version = store.version
    store.close()
    store = Store(path)
    assert store.version == version
    assert store.settings("shop") == {"session_rate": 20}
    store.close()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"session_rate": 0}, "services.shop.session_rate = 0 must be a number above 0"),
        ({"accept": ["nowhere"]}, "services.shop.accept[0] = 'nowhere' is not an address"),
        ({"name": "cafe"}, "services.shop has no key 'name'"),
        ([], "services.shop = [] must be a table"),
    ],
)
async def test_a_faulty_service_is_not_stored(
    client: httpx.AsyncClient, store: Store, settings: object, fault: str
) -> None:
    version = store.version
    answer = await client.put("/services/shop", json=settings)
    assert answer.status_code == 422
    assert answer.json()["faults"][0].startswith(fault)
    assert store.version == version


@pytest.mark.parametrize(
    ("hours", "faults"),
    [
        ({"since": 9}, []),
        ({"sinse": 9}, ["services.shop.hours has no key 'sinse' (did you mean since?)"]),
        ({"since": "9"}, ["services.shop.hours.since = '9' must be a whole number"]),
    ],
)
def test_the_keys_of_an_edges_stages_are_checked_as_that_edge_checks_them(hours: object, faults: list[str]) -> None:
    found = faults_of("shop", {"hours": hours}, StageKeys([Hours]))
    assert [fault[: len(start)] for fault, start in zip(found, faults, strict=True)] == faults


@pytest.mark.parametrize("name", ["a%0Ab", "x" * 256])
async def test_a_name_that_edges_refuse_is_not_stored(client: httpx.AsyncClient, store: Store, name: str) -> None:
    assert (await client.put(f"/services/{name}", json={})).status_code == 422
    assert store.settings(name) is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/services/shop", b"{"),
        ("PUT", "/services/shop", b"\xff"),
        ("GET", "/v1/snapshot?wait=x", b""),
        ("POST", "/v1/devices/check", b"{}"),
        ("POST", "/v1/devices/check", b"3"),
        ("POST", "/v1/report", b"{}"),
        ("POST", "/v1/report", b'{"edge": "a", "epoch": "b", "sequence": 1, "services": [{}]}'),
        ("POST", "/v1/report", b'{"edge": "a", "epoch": "b", "sequence": 1, "services": 3}'),
    ],
)
async def test_a_malformed_request_is_answered_with_400(
    client: httpx.AsyncClient, method: str, path: str, body: bytes
) -> None:
    assert (await client.request(method, path, content=body)).status_code == 400


def usage(service: str, count: int) -> dict[str, object]:
    return {
        "service": service, "incarnation": 1, "bytes_up": count, "bytes_down": 0, "opened": 0, "live": 0, "sources": 0,
    }  # fmt: skip


async def test_a_report_is_stored_whole_or_not_at_all(client: httpx.AsyncClient, store: Store) -> None:
    report = {"edge": "a", "epoch": "b", "sequence": 1, "services": [usage("shop", 5), usage("cafe", 1 << 70)]}
    assert (await client.post("/v1/report", json=report)).status_code == 400
    assert store.totals("shop")["bytes_up"] == 0
    report["services"] = [usage("shop", 5), usage("cafe", 7)]
    assert (await client.post("/v1/report", json=report)).json() == {"acknowledged": 1}
    assert (store.totals("shop")["bytes_up"], store.totals("cafe")["bytes_up"]) == (5, 7)


def test_a_device_counts_for_two_minutes_after_it_was_seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("examples.control_plane.store.time.time", lambda: now)
    store.put("shop", {"device_limit": 2})
    assert [store.check("shop", device)["accept"] for device in ("a", "b", "c", "a")] == [True, True, False, True]
    now += FRESH_SECONDS + 1
    assert store.check("shop", "a")["accept"]
    now += FRESH_SECONDS + 1
    assert [store.check("shop", device)["accept"] for device in ("c", "b")] == [True, False]
    store.put("shop", {"device_limit": 2, "device_handover": "evict_oldest"})
    assert store.check("shop", "d")["accept"], "the edge itself makes room"
    store.put("shop", None)
    assert store.check("shop", "a")["detail"] == "no such service"


def test_a_pattern_denies_every_device_that_matches(store: Store) -> None:
    store.put("shop", {})
    store.put("cafe", {})
    store.deny("shop", "192.0.2.*", True)
    assert not store.check("shop", "192.0.2.7")["accept"]
    assert store.check("shop", "192.0.20.7")["accept"]
    assert store.check("cafe", "192.0.2.7")["accept"]
    store.deny("shop", "192.0.2.*", False)
    assert store.check("shop", "192.0.2.7")["accept"]


def test_a_replacement_of_all_services_is_one_version_of_the_changes(store: Store) -> None:
    store.replace({"shop": {"session_rate": 20}, "cafe": {}, "bank": {}})
    first = store.version
    store.replace({"shop": {"session_rate": 20}, "cafe": {"session_rate": 5}})
    assert [json.loads(line) for line in store.snapshot(first)[1].splitlines()] == [
        {"version": store.version, "full": False},
        {"removed": "bank"},
        {"name": "cafe", "session_rate": 5},
        {"end": 2},
    ]
    second = store.version
    store.replace({"cafe": {"session_rate": 5}, "shop": {"session_rate": 20}})
    assert store.version == second


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[services.shop", "Expected ']'"),
        ("", "has no table [services]"),
        ("[service.shop]", "there are tables [services.NAME] and nothing else"),
        ("services = 3", "there are tables [services.NAME] and nothing else"),
        ("[services]\nshop = 3", "services.shop = 3 must be a table"),
        ("[services.shop]\nsession_rate = 0\n[services.cafe]\nrate = 1", "services.shop.session_rate = 0 must be"),
        ("[services.shop]\nsession_rate = 0\n[services.cafe]\nrate = 1", "services.cafe has no key 'rate'"),
        ("[services.shop]\ndown_rate = 2026-01-01", "services.shop.down_rate"),
        ("[services.shop]\ndown_rate = nan", "services.shop.down_rate"),
        ('[services."a\\nb"]', "a name is at most 255 letters that can be printed"),
        ("\xff", "utf-8"),
    ],
)
def test_a_faulty_file_is_refused_at_the_start(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "services.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=re.escape(fault)) as refusal:
        services_file.read(path, NO_KEYS)
    assert str(path) in str(refusal.value)


async def test_changes_of_a_file_are_stored(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(services_file, "LOOK_SECONDS", 0.01)
    path = tmp_path / "services.toml"

    async def until(settings: object, name: str = "shop") -> None:
        with trio.fail_after(5):
            while store.settings(name) != settings:
                await trio.sleep(0.005)

    def write(text: str) -> None:
        path.with_name("new").write_text(text)
        path.with_name("new").rename(path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(services_file.follow, path, ControlPlane(store))
        await trio.sleep(0.03)
        write("[services.shop]\nsession_rate = 20")
        await until({"session_rate": 20})
        write("[services.shop]\nsession_rate = 0")
        said = ""
        while not said:
            await trio.sleep(0.005)
            said = capsys.readouterr().err
        assert said.startswith(f"{path}: services.shop.session_rate = 0 must be a number above 0")
        path.unlink()
        said = ""
        while not said:
            await trio.sleep(0.005)
            said = capsys.readouterr().err
        assert "No such file" in said
        assert store.settings("shop") == {"session_rate": 20}
        write("[services.cafe]")
        await until(None)
        assert store.settings("cafe") == {}
        assert capsys.readouterr().err == ""
        nursery.cancel_scope.cancel()


async def test_a_file_that_is_being_written_is_left_alone(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    looks: list[tuple[int, ...] | None] = [(1,), (2,), (3,), (3,), (3,), (4,), None, (4,), (3,), (4,), (4,)]
    left: list[int] = []

    def read(_: Path, stage_keys: StageKeys) -> dict[str, Any]:
        left.append(len(looks))
        return {}

    monkeypatch.setattr(services_file, "_look", lambda _: looks.pop(0))
    monkeypatch.setattr(services_file, "read", read)
    with pytest.raises(IndexError):
        await services_file.follow(tmp_path, ControlPlane(store))
    assert left == [7, 0]


def test_it_does_not_start_with_a_faulty_file(tmp_path: Path) -> None:
    for text in (None, "[services.shop]\nsession_rate = 0"):
        path = tmp_path / f"{text is None}.toml"
        if text is not None:
            path.write_text(text)
        command = [sys.executable, "-m", "examples.control_plane", "--services", str(path), "--database", ":memory:"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
        assert done.returncode == 2
        assert str(path) in done.stderr.splitlines()[-1]


def test_a_port_that_is_in_use_is_a_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = [
            sys.executable, "-m", "examples.control_plane", "--database", ":memory:",
            "--port", str(other.getsockname()[1]),
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "in use" in done.stderr


async def test_a_client_that_closes_in_the_middle_of_a_request_is_no_fault(
    client: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]
) -> None:
    port = client.base_url.port
    assert port is not None
    async with await trio.open_tcp_stream("127.0.0.1", port) as gone:
        await gone.send_all(b"POST /v1/devices/check HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        await trio.sleep(0.02)
    assert (await client.get("/v1/snapshot")).status_code == 200
    await trio.sleep(0.05)
    assert capfd.readouterr().err == ""


def test_it_ends_with_its_stdin() -> None:
    command = [sys.executable, "-m", "examples.control_plane", "--port", "0", "--database", ":memory:", "--until-eof"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert done.stdout.startswith("http://127.0.0.1:")
    assert done.stderr == ""


async def test_a_request_without_the_token_is_refused(store: Store) -> None:
    async with example(store, token="secret") as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            for path in ("/v1/snapshot", "/services/shop/totals"):
                assert (await client.get(path, headers=headers)).status_code == 401
        assert (await client.get("/v1/snapshot", headers={"Authorization": "Bearer secret"})).status_code == 200


def test_it_does_not_listen_for_other_machines_without_a_token() -> None:
    command = [sys.executable, "-m", "examples.control_plane", "--host", "0.0.0.0", "--database", ":memory:"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, env={})
    assert done.returncode == 2
    assert "set CONTROL_TOKEN" in done.stderr


def usage_of(sequence: int, bytes_down: int, service: str = "shop") -> dict[str, Any]:
    usage = {"service": service, "incarnation": 1, "bytes_up": 0, "bytes_down": bytes_down, "opened": 1}
    return {"edge": "e", "epoch": "1", "sequence": sequence, "services": [usage]}


async def test_a_service_with_a_quota_tells_what_reports_say_that_it_used(
    client: httpx.AsyncClient, store: Store
) -> None:
    store.put("shop", {"quota_bytes": 1_000})
    store.put("blog", {})
    first = await client.get("/v1/snapshot")
    assert lines(first)[1:] == [
        {"name": "blog"},
        {"name": "shop", "quota_bytes": 1_000, "quota_used": 0},
        {"end": 2},
    ]
    for name in ("shop", "blog"):
        assert (await client.post("/v1/report", json=usage_of(1, 300, name))).status_code == 200
    news = await client.get("/v1/snapshot?wait=5", headers={"If-None-Match": first.headers["ETag"]})
    assert lines(news)[1:] == [{"name": "shop", "quota_bytes": 1_000, "quota_used": 300}, {"end": 1}]
    assert (await client.put("/services/shop/period")).status_code == 204
    assert store.used("shop") == 0
    await client.post("/v1/report", json=usage_of(2, 450))
    assert store.used("shop") == 150
    assert lines(await client.get("/v1/snapshot"))[2]["quota_used"] == 150


async def test_a_period_of_a_service_that_there_is_not_makes_none(client: httpx.AsyncClient, store: Store) -> None:
    assert (await client.put("/services/shop/period")).status_code == 204
    assert store.settings("shop") is None


async def test_an_edge_and_its_control_plane_keep_a_quota_over_a_restart_of_the_edge(store: Store) -> None:
    async def serve_once(url: str, upstream: int) -> int:
        """Download until the quota is used up, or 400,000 bytes are there; give what the edge counted."""
        edge = te.Edge(
            "tcp://127.0.0.1:0", [], te.Forward(f"tcp://127.0.0.1:{upstream}"),
            control=te.HttpControl(url), report_seconds=0.05,
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            port = int(edge.addresses[0].rpartition(":")[2])
            with suppress(trio.BrokenResourceError, OSError):
                async with await trio.open_tcp_stream("127.0.0.1", port) as client:
                    got = 0
                    while got < 400_000 and (data := await client.receive_some(20_000)):
                        got += len(data)
            edge.drain()
        return edge.services["default"].quota_used

    async def flood(connection: trio.SocketStream) -> None:
        while True:
            await connection.send_all(bytes(10_000))
            await trio.sleep(0.001)

    store.put("default", {"quota_bytes": 1_000_000})
    async with example(store) as url, server(flood) as upstream:
        with trio.fail_after(30):
            counted = [await serve_once(url, upstream) for _ in range(4)]
    assert counted == sorted(counted)
    assert 1_000_000 <= counted[2] <= 1_000_000 + 65_536
    assert counted[3] == counted[2] == store.used("default"), "a new run is refused at once"
