import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.fake_edge import FakeEdge

SAYS = {"says": "changes 1 service; retunes 3 sessions", "added": 0}


@pytest.fixture(autouse=True)
def _file() -> None:
    Path("new.toml").write_text("[services.shop]\nsession_rate = 30\n")


@pytest.mark.parametrize("arguments", [["plan", "new.toml"], ["diff", "new.toml", "--edge", "{edge}"]])
def test_the_edge_says_what_a_file_would_do(arguments: list[str], fake: FakeEdge, command: Command) -> None:
    fake.answers["POST", "/v1/plan"] = (200, SAYS)
    assert command(*(each.format(edge=fake.address) for each in arguments)) == (0, f"{SAYS['says']}\n", "")
    assert any(json.loads(line).get("name") == "shop" for line in fake.asked[-1].body.splitlines())


def test_faults_of_the_file_are_code_2(fake: FakeEdge, command: Command) -> None:
    fake.answers["POST", "/v1/plan"] = (422, {"faults": ["services.shop.x: a", "services.shop.y: b"]})
    assert command("plan", "new.toml") == (2, "", "trioedge: new.toml: services.shop.x: a; services.shop.y: b\n")
    assert command("plan", "none.toml")[0] == 2


def test_an_edge_without_services_is_code_1(fake: FakeEdge, command: Command) -> None:
    fake.answers["POST", "/v1/plan"] = (409, {"error": "an edge without control=… has no services"})
    assert command("plan", "new.toml") == (1, "", "trioedge: an edge without control=… has no services\n")


def test_json_has_the_counts(fake: FakeEdge, command: Command) -> None:
    fake.answers["POST", "/v1/plan"] = (200, SAYS)
    assert json.loads(command("plan", "new.toml", "--json")[1]) == SAYS
