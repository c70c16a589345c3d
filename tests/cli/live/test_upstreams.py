import json

from tests.cli.conftest import Command
from tests.support.fake_edge import UPSTREAM, FakeEdge, page


def test_upstreams_have_their_health_and_connect_times(fake: FakeEdge, command: Command) -> None:
    dead = {"healthy": False, "failures": 0, "connect_ms": None, "last_error": None, "group": None}
    fake.answers["GET", "/v1/upstreams"] = page(UPSTREAM, {**UPSTREAM, **dead}, {**UPSTREAM, **dead, "healthy": None})
    code, out, error = command("upstreams")
    assert (code, error) == (0, "")
    assert out.splitlines()[1:] == [
        "tcp://10.0.0.5:6379  redis  well            3     4       200         2     0.5     4.0    12.2  refused",
        "tcp://10.0.0.5:6379  -      out             3     4       200         0       -       -       -  -",
        "tcp://10.0.0.5:6379  -      -               3     4       200         0       -       -       -  -",
    ]


def test_an_edge_that_has_connected_to_none_has_none(fake: FakeEdge, command: Command) -> None:
    fake.answers["GET", "/v1/upstreams"] = page()
    assert command("upstreams") == (0, "", "no upstream was connected yet\n")
    assert json.loads(command("upstreams", "--json")[1])["items"] == []
