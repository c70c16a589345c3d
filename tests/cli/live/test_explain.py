import json

import pytest

from tests.cli.conftest import Command
from tests.support.fake_edge import REFUSED, SESSION, STEPS, FakeEdge, page


def test_a_live_session_is_explained_stage_by_stage(fake: FakeEdge, command: Command) -> None:
    code, out, error = command("explain", "17")
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        "session   17",
        "service   shop",
        "source    192.0.2.7",
        "device    phone",
        "upstream  tcp://10.0.0.5:6379",
        "moved     up 12 kB, down 6.8 MB",
        "live      relaying for 2 m 12 s, without a byte for 0.8 s",
        "",
        "stage          took  verdict   detail",
        "SessionGate  1.2 µs  continue  -",
        "SourceMatch  3.4 µs  source    192.0.2.7 is rejected",
    ]


@pytest.mark.parametrize(
    ("source", "peer", "line"),
    [
        ("192.0.2.7", "192.0.2.7", "source    192.0.2.7"),
        ("2001:db8::7", "2001:db8::7", "source    2001:db8::7"),
        ("192.0.2.7", "10.0.0.1", "source    192.0.2.7, connected from 10.0.0.1"),
        ("10.0.0.1", "10.0.0.12", "source    10.0.0.1, connected from 10.0.0.12"),
    ],
)
def test_a_peer_is_named_where_it_is_another_than_the_client(
    source: str, peer: str, line: str, fake: FakeEdge, command: Command
) -> None:
    session = {**SESSION, "source": source, "peer": peer}
    answer = {"session": session, "outcome": "source: x", "steps": [], "says": ""}
    fake.answers["GET", "/v1/sessions/17"] = (200, answer)
    out = command("explain", "17")[1].splitlines()
    assert line in out
    assert out[-1] == "ended     source: x"


def test_an_unknown_session_is_an_error_of_the_edge(fake: FakeEdge, command: Command) -> None:
    assert command("explain", "5") == (1, "", "trioedge: there is no session 5\n")


def test_what_was_refused_or_cut_of_a_source_is_a_table_with_the_reasons(fake: FakeEdge, command: Command) -> None:
    cut = {**REFUSED, "id": 12, "kind": "ended", "reason": "device", "stage": ""}
    fake.answers["GET", "/v1/recent"] = page(REFUSED, {**REFUSED, "id": 16}, cut)
    code, out, error = command("explain", "--source", "192.0.2.7", "--limit", "3")
    assert (code, error) == (0, "3 sessions of 192.0.2.7: source 2, device 1\n")
    head, first, *_ = out.splitlines()
    assert head.split() == ["at", "id", "service", "source", "reason", "stage", "detail"]
    assert first.endswith("17  shop     192.0.2.7  source  SourceMatch  192.0.2.7 is rejected")
    assert fake.asked[0].query == {"source": "192.0.2.7", "kind": "failed", "limit": "3"}


def test_a_source_of_which_none_was_refused_is_told_with_its_live_sessions(fake: FakeEdge, command: Command) -> None:
    fake.answers["GET", "/v1/recent"] = page()
    out = command("explain", "--source", "192.0.2.7")[1]
    assert out == "no session of 192.0.2.7 among the last was refused or cut; 2 sessions live\n"
    assert command("explain", "--service", "shop")[1].startswith("no session of shop among the last was refused")
    fake.answers["GET", "/v1/sessions"] = page()
    fake.answers["GET", "/v1/services/shopp"] = 404, {"error": "there is no service 'shopp'"}
    assert command("explain", "--service", "shopp") == (1, "", "trioedge: there is no service 'shopp'\n")


@pytest.mark.parametrize("arguments", [[], ["17", "--source", "192.0.2.7"], ["17", "--service", "shop"]])
def test_one_thing_is_explained(arguments: list[str], command: Command) -> None:
    code, _, error = command("explain", *arguments)
    assert (code, error) == (
        2,
        "trioedge: explain wants the id of a session, or --source ADDRESS, or --service NAME\n",
    )


def test_json_is_the_answer_of_the_api(fake: FakeEdge, command: Command) -> None:
    assert json.loads(command("explain", "17", "--json")[1])["steps"] == STEPS
    assert json.loads(command("explain", "--service", "shop", "--json")[1])["items"] == [REFUSED]
