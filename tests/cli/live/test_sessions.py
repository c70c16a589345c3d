import json

from tests.cli.conftest import Command
from tests.support.fake_edge import SESSION, FakeEdge, page


def test_live_sessions_are_a_table_in_a_pipe_whole(fake: FakeEdge, command: Command) -> None:
    code, out, error = command("sessions", "--service", "shop", "--source", "192.0.2.0/24", "--device", "phone")
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        "id  service  source       device  phase            age   idle     up    down  upstream             worker",
        "17  shop     192.0.2.7    phone   relaying    2 m 12 s  0.8 s  12 kB  6.8 MB  tcp://10.0.0.5:6379       0",
        "18  shop     2001:db8::7  -       connecting     0.2 s      -    0 B     0 B  -                         1",
    ]
    assert fake.asked[0].query == {"limit": "100", "service": "shop", "source": "192.0.2.0/24", "device": "phone"}


def test_more_sessions_than_the_limit_are_told_and_all_of_them_are_read_page_by_page(
    fake: FakeEdge, command: Command
) -> None:
    fake.answers["GET", "/v1/sessions"] = lambda asking: (
        page({**SESSION, "id": 19}) if "after" in asking.query else (200, {"items": [SESSION], "next": 17})
    )
    code, out, error = command("sessions", "--limit", "1")
    assert (code, len(out.splitlines()), error) == (0, 2, "there are more: --all shows them\n")
    code, out, error = command("sessions", "--all")
    assert (code, len(out.splitlines()), error) == (0, 3, "")


def test_json_is_the_list_of_the_api(fake: FakeEdge, command: Command) -> None:
    code, out, error = command("sessions", "--json")
    assert (code, error) == (0, "")
    assert [session["id"] for session in json.loads(out)["items"]] == [17, 18]
    assert json.loads(out)["next"] is None


def test_sources_are_counted(fake: FakeEdge, command: Command) -> None:
    code, out, error = command("sessions", "--by", "source", "--order", "bytes", "--limit", "5")
    assert (code, error) == (0, "")
    assert out.splitlines() == ["source     live      up    down", "192.0.2.7     9  1.0 kB  2.0 MB"]
    assert fake.asked[0].query == {"by": "source", "order": "bytes", "limit": "5"}


def test_a_device_is_counted_with_its_service(fake: FakeEdge, command: Command) -> None:
    assert command("sessions", "--by", "device")[1].splitlines() == [
        "device  service  live    up  down",
        "phone   shop        2  10 B  20 B",
    ]


def test_no_session_is_told_on_stderr_so_that_a_program_reads_no_line(fake: FakeEdge, command: Command) -> None:
    fake.answers["GET", "/v1/sessions"] = fake.answers["GET", "/v1/top"] = page()
    for options in ((), ("--by", "source")):
        assert command("sessions", *options) == (0, "", "no session is live\n")


def test_a_service_that_is_not_there_is_said_and_one_without_sessions_has_none(
    fake: FakeEdge, command: Command
) -> None:
    fake.answers["GET", "/v1/sessions"] = 200, {"items": [], "next": None}
    fake.answers["GET", "/v1/services/shopp"] = 404, {"error": "there is no service 'shopp'"}
    assert command("sessions", "--service", "shopp") == (1, "", "trioedge: there is no service 'shopp'\n")
    fake.answers["GET", "/v1/services/shop"] = 200, {"name": "shop"}
    assert command("sessions", "--service", "shop") == (0, "", "no session is live\n")


def test_what_is_counted_has_no_filter(fake: FakeEdge, command: Command) -> None:
    code, out, error = command("sessions", "--by", "source", "--service", "shop")
    assert (code, out) == (2, "")
    assert error == "trioedge: --by source counts all live sessions: leave out --service, --source and --device\n"
    assert command("sessions", "--limit", "0")[0] == 2
