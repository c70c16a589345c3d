"""The admin API as an application."""

import json

import pytest

import trioedge as te
from tests.support.admin import STATE, FakeAsker, FakeControl, api_of, ask
from tests.support.cancels import cancel_at_every_step, left_open
from trioedge.admin.http.responses import MISSING
from trioedge.services.control_plane import SnapshotError
from trioedge.services.snapshot import Plan

LINES = b'{"version": "8", "full": true}\n{"name": "shop", "down_rate": 10}\n{"end": 1}\n'


async def test_a_snapshot_is_answered_by_its_plan() -> None:
    controlled = FakeControl(Plan(changed={"shop": ("down_rate",)}, retuned=812, evicted=3))
    answer = await ask(api_of(controlled), "POST", "/v1/plan", LINES, size=10)
    assert answer.status == 200
    assert answer.json["says"] == "changes 1 service; retunes 812 sessions, evicts 3 sessions"
    assert (answer.json["retuned"], answer.json["evicted"], answer.json["changed"]) == (812, 3, 1)
    (snapshot,) = controlled.snapshots
    assert (snapshot.version, snapshot.full, snapshot.services["shop"].policy.down_rate) == ("8", True, 10)
    assert not controlled.applied


async def test_a_snapshot_may_say_only_what_changes() -> None:
    controlled = FakeControl()
    lines = b'{"version": "9", "full": false}\n{"name": "shop", "down_rate": 10}\n{"removed": "cafe"}\n{"end": 2}\n'
    assert (await ask(api_of(controlled), "POST", "/v1/apply", lines)).status == 200
    (snapshot,) = controlled.applied
    assert (snapshot.full, {*snapshot.removed}, {*snapshot.services}) == (False, {"cafe"}, {"shop"})


async def test_a_snapshot_with_faults_is_answered_by_all_of_them() -> None:
    faults = ("services.a.session_rate = 0 must be above 0", "services.b has no key 'x'")
    answer = await ask(api_of(FakeControl(SnapshotError(faults))), "POST", "/v1/plan", LINES)
    assert (answer.status, answer.json) == (422, {"faults": [*faults]})
    answer = await ask(api_of(), "POST", "/v1/plan", b"nonsense\n")
    assert answer.status == 422
    assert "does not begin with" in answer.json["faults"][0]


async def test_the_state_is_answered_with_times_since_1970() -> None:
    state = (await ask(api_of(), "GET", "/v1/state")).json
    assert (state["version"], state["services"], state["failing_since"]) == (STATE.version, STATE.services, None)
    assert state["applied_at"] > 1e9


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/plan", 405, b"POST"),
        ("POST", "/v1/state", 405, b"GET"),
        ("PATCH", "/v1/sessions/7", 405, b"GET, DELETE"),
        ("GET", "/v1", 404, None),
        ("GET", "/v1/sessions/7/8", 404, None),
        ("GET", "/v1/services/%ff", 404, None),
        ("GET", "//" * 50, 404, None),
    ],
)
async def test_an_unknown_path_is_404_and_another_method_405(
    method: str, path: str, status: int, allow: bytes | None
) -> None:
    api = api_of()
    answer = await ask(api, method, path)
    assert (answer.status, answer.headers.get(b"allow"), [*answer.json]) == (status, allow, ["error"])
    assert dict(api.errors) == {status: 1}


@pytest.mark.parametrize("fault", [None, SnapshotError(["no"])])
async def test_after_a_request_that_is_cancelled_no_plan_is_under_way(fault: SnapshotError | None) -> None:
    """The server closes the connection in the middle of an answer, so only the plan has to end."""
    before = left_open()

    async def request() -> None:
        await ask(api_of(FakeControl(fault or Plan(added=("shop",)))), "POST", "/v1/plan", LINES, size=40)

    def check() -> None:
        assert left_open() == before

    assert await cancel_at_every_step(request, check) >= 5


async def test_a_token_is_asked_for_but_by_health_and_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "a-long-token")
    api = api_of(token=te.Secret(env="ADMIN_TOKEN"))
    assert (await ask(api, "GET", "/health")).status == 200
    for given in (None, b"Bearer wrong", b"Basic a-long-token", b"Bearer", b"a-long-token", b"Bearer \xff", b""):
        headers = {} if given is None else {b"authorization": given}
        answer = await ask(api, "GET", "/v1/state", headers=headers)
        assert (answer.status, answer.headers[b"www-authenticate"]) == (401, b'Bearer realm="trioedge"'), given
        assert b"a-long-token" not in answer.body
    for given in (b"Bearer a-long-token", b"bearer  a-long-token "):
        assert (await ask(api, "GET", "/v1/state", headers={b"authorization": given})).status == 200
    assert api.errors[401] == 7
    monkeypatch.delenv("ADMIN_TOKEN")
    answer = await ask(api, "GET", "/v1/state", headers={b"authorization": b"Bearer a-long-token"})
    assert answer.status == 503, "the token is read at each request"


async def test_every_answer_forbids_copies_frames_and_foreign_hosts() -> None:
    for path in ("/health", "/v1/none"):
        headers = (await ask(api_of(), "GET", path)).headers
        assert headers[b"cache-control"] == b"no-store"
        assert b"default-src 'none'" in headers[b"content-security-policy"]
        assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]


async def test_an_answer_names_the_workers_whose_part_it_lacks() -> None:
    headers = (await ask(api_of(asker=FakeAsker({"evict": [4, 0]})), "POST", "/v1/evict", b'{"service": "a"}')).headers
    assert MISSING.encode() not in headers
    answer = await ask(api_of(asker=FakeAsker({"evict": [4, None, None]})), "POST", "/v1/evict", b'{"service": "a"}')
    assert (answer.status, answer.json, answer.headers[MISSING.encode()]) == (200, {"evicted": 4}, b"1, 2")


async def test_what_no_worker_has_is_404_and_503_while_one_does_not_answer() -> None:
    for answers, status in (([0, 0], 404), ([0, None], 503)):
        answer = await ask(api_of(asker=FakeAsker({"evict-session": answers})), "DELETE", "/v1/sessions/8")
        assert answer.status == status
        assert answer.json["error"].startswith("there is no live session 8")
    assert answer.json["error"].endswith("worker 1 did not answer within 2 s, and may know it")
    assert answer.headers[MISSING.encode()] == b"1"


async def test_a_drain_begins_behind_its_answer() -> None:
    controlled = FakeControl()
    asker = FakeAsker({"drain": [{"phase": "serving", "live": 3, "deadline_seconds": None, "seconds": 9.0}]})
    answer = await ask(api_of(controlled, asker), "POST", "/v1/drain", json.dumps({"seconds": 2.5}).encode())
    assert answer.json == {"phase": "draining", "live": 3, "deadline_seconds": 2.5}
    assert controlled.drains == [2.5]
