import json

import pytest

from tests.cli.conftest import Command
from tests.support.fake_edge import FakeEdge
from trioedge.cli.live import evict


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (["--source", "192.0.2.0/24"], {"source": "192.0.2.0/24"}),
        (["--service", "shop", "--device", "phone"], {"service": "shop", "device": "phone"}),
        (["--service", "shop", "--session", "17"], {"service": "shop", "session": 17}),
    ],
)
def test_what_is_named_is_cut_and_counted(
    options: list[str], body: dict[str, object], fake: FakeEdge, command: Command
) -> None:
    code, out, error = command("evict", *options, "--yes")
    assert (code, error) == (0, "")
    assert fake.asked[-1].method == "POST"
    assert fake.asked[-1].body == body
    assert out.startswith("cut 12 sessions of ")


def test_a_service_that_is_not_there_is_said_before_the_question(
    fake: FakeEdge, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(question: str, yes: bool) -> bool:
        raise AssertionError(question)

    monkeypatch.setattr(evict, "confirmed", never)
    fake.answers["GET", "/v1/sessions"] = 200, {"items": [], "next": None}
    fake.answers["GET", "/v1/services/shopp"] = 404, {"error": "there is no service 'shopp'"}
    assert command("evict", "--service", "shopp") == (1, "", "trioedge: there is no service 'shopp'\n")


def test_one_session_is_cut_by_its_id(fake: FakeEdge, command: Command) -> None:
    assert command("evict", "--session", "17", "--yes") == (0, "cut session 17\n", "")
    assert command("evict", "--session", "5", "--yes") == (1, "", "trioedge: there is no live session 5\n")


@pytest.mark.parametrize(
    ("options", "question"),
    [
        (["--source", "192.0.2.7"], "Cut 2 sessions of source 192.0.2.7?"),
        (["--session", "17"], "Cut session 17?"),
    ],
)
def test_a_no_cuts_nothing(
    options: list[str], question: str, fake: FakeEdge, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def no(question: str, yes: bool) -> bool:
        asked.append((question, yes))
        return False

    monkeypatch.setattr(evict, "confirmed", no)
    assert command("evict", *options)[:2] == (1, "")
    assert asked == [(question, False)]
    assert {each.method for each in fake.asked} <= {"GET"}


def test_a_question_bears_an_edge_that_cannot_count(
    fake: FakeEdge, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answers["GET", "/v1/sessions"] = (422, {"faults": ["query.source: x"]})
    assert command("evict", "--source", "192.0.2.7", "--yes")[0] == 0
    monkeypatch.setattr(evict, "COUNTED", 1)
    fake.answers["GET", "/v1/sessions"] = (200, {"items": [1], "next": 1})
    assert command("evict", "--source", "192.0.2.7", "--yes")[0] == 0


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ([], "evict wants --service, --source, --device or --session; to cut all, trioedge drain"),
        (["--device", "phone"], "--device is a device of a service: say --service as well"),
    ],
)
def test_nothing_named_cuts_nothing(options: list[str], fault: str, command: Command) -> None:
    assert command("evict", *options) == (2, "", f"trioedge: {fault}\n")


def test_json_has_the_count(fake: FakeEdge, command: Command) -> None:
    assert json.loads(command("evict", "--service", "shop", "--json")[1]) == {"evicted": 12}
