import json

from tests.cli.conftest import Command
from tests.support.fake_edge import DEVICE, SERVICE, FakeEdge, page


def test_services_are_a_table_with_their_limits_and_use(fake: FakeEdge, command: Command) -> None:
    code, out, error = command("services", "--order", "live")
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        "service  live   of  opened      up   down  gate/s  down at most           quota  refuses",
        "blog        0    -       0     0 B    0 B       -             -               -  quota: 1 GB are used up",
        "shop       12  100     340  1.2 MB  98 MB      20       10 MB/s  12 GB of 50 GB  -",
    ]
    assert fake.asked[0].query == {"limit": "100", "order": "live"}


def test_one_service_is_shown_with_its_devices(fake: FakeEdge, command: Command) -> None:
    code, out, error = command("services", "shop")
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        "service       shop",
        "refuses       -",
        "live          12 of 100 at most",
        "opened        340",
        "sources       9",
        "new sessions  20/s, bursts of 40",
        "down          98 MB, 10 MB/s at most",
        "up            1.2 MB",
        "quota         12 GB of 50 GB",
        "expires       2027-01-15T08:00:00Z",
        "",
        "device  state  sessions     since  until  detail",
        "phone   fresh         2  5 m 40 s   12 s  -",
    ]


def test_a_service_says_why_it_refuses_and_what_is_not_open(fake: FakeEdge, command: Command) -> None:
    lines = command("services", "blog")[1].splitlines()
    assert "refuses       quota: 1 GB are used up" in lines
    assert lines[-1] == "not open      tcp://0.0.0.0:80: in use"
    fake.answers["GET", "/v1/services/shop"] = (200, {**SERVICE, "enabled": False})
    assert "refuses       disabled" in command("services", "shop")[1].splitlines()


def test_where_no_service_has_the_name_those_that_begin_so_are_listed(fake: FakeEdge, command: Command) -> None:
    for name in ("sh", "shop*"):
        code, out, error = command("services", name)
        assert (code, error) == (0, "")
        assert [line.split()[0] for line in out.splitlines()] == ["service", "shop"]


def test_a_name_that_no_service_has_or_begins_with_is_an_error_of_the_edge(fake: FakeEdge, command: Command) -> None:
    fake.answers["GET", "/v1/services/none"] = (404, {"error": "there is no service 'none'"})
    assert command("services", "none") == (1, "", "trioedge: there is no service 'none'\n")
    assert command("services", "none*") == (0, "", "no service begins with none\n")
    fake.answers["GET", "/v1/services"] = page()
    assert command("services") == (0, "", "no service\n")
    fake.answers["GET", "/v1/services/shop"] = (500, {"error": "a fault"})
    assert command("services", "shop") == (1, "", "trioedge: a fault\n")


def test_json_has_the_devices_in_the_service(fake: FakeEdge, command: Command) -> None:
    assert json.loads(command("services", "shop", "--json")[1]) == {**SERVICE, "devices": [DEVICE]}
    assert [each["name"] for each in json.loads(command("services", "--json")[1])["items"]] == ["blog", "shop"]
