import json
from pathlib import Path

import pytest

import trioedge as te
from tests.support.fake_edge import FakeEdge
from trioedge.cli.client import which
from trioedge.cli.client.client import EdgeClient
from trioedge.cli.client.which import INTERRUPTED, Asked

EDGE = """\
import trioedge as te
edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://127.0.0.1:1"), admin="unix:///run/mine.sock")
bare = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://127.0.0.1:1"))
"""


@pytest.fixture(autouse=True)
def _no_edge_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(which, "USUAL", ())


def address(**said: str) -> str:
    return str(Asked(**said).client().address)  # type: ignore[arg-type]


def test_an_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIOEDGE_EDGE", "unix:///run/env.sock")
    assert address() == "unix:///run/env.sock"
    assert address(edge="tcp://[::1]:9100") == "tcp://[::1]:9100"


def test_a_target_gives_its_admin_address() -> None:
    Path("mine.py").write_text(EDGE)
    assert address(edge="mine.py") == "unix:///run/mine.sock"
    with pytest.raises(te.ConfigurationError, match=r"mine.py:bare: the edge has no admin API: give it admin = "):
        address(edge="mine.py:bare")


def test_a_target_gives_the_token_of_its_network_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("of the target\n")
    admin = 'te.Admin("tcp://127.0.0.1:{}", token=te.Secret(file="token"))'
    for name, port in (("mine", 9100), ("free", 0)):
        Path(f"{name}.py").write_text(EDGE.replace('"unix:///run/mine.sock"', admin.format(port)))
    client = Asked(edge="mine.py").client()
    assert (str(client.address), client.token) == ("tcp://127.0.0.1:9100", "of the target")
    with pytest.raises(te.ConfigurationError, match="has a port that the system chooses: say --edge with it"):
        address(edge="free.py")
    monkeypatch.setenv("TRIOEDGE_TOKEN", "of the environment")
    assert Asked(edge="mine.py").client().token == "of the environment"
    (tmp_path / "token").unlink()
    assert Asked(edge="mine.py").client().token == "of the environment"
    monkeypatch.delenv("TRIOEDGE_TOKEN")
    (tmp_path / "own").write_text("of the user\n")
    assert Asked(edge="mine.py", token_file=str(tmp_path / "own")).client().token == "of the user"
    with pytest.raises(te.ConfigurationError, match="token"):
        Asked(edge="mine.py").client()


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("/run/edge.sock", "must begin with tcp:// or unix://: write 'unix:///run/edge.sock'"),
        ("127.0.0.1:9100", "must begin with tcp:// or unix://: write 'tcp://127.0.0.1:9100'"),
        ("http://127.0.0.1:9100", "must begin with tcp:// or unix://"),
        ("nowhere.toml", "nowhere.toml"),
        ("nowhere", "no module named 'nowhere'"),
    ],
)
def test_what_names_no_edge_is_told(said: str, fault: str) -> None:
    with pytest.raises(te.ConfigurationError) as caught:
        address(edge=said)
    assert fault in str(caught.value)


def test_the_only_edge_need_not_be_named(fake: FakeEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIOEDGE_EDGE")
    with pytest.raises(te.ConfigurationError, match=r"which edge\? Say --edge unix:///run/edge.sock"):
        address()
    monkeypatch.setattr(which, "USUAL", (f"{tmp_path}/*.sock",))
    assert address() == fake.address
    (tmp_path / "more").mkdir()
    monkeypatch.setattr(which, "USUAL", (f"{tmp_path}/*.sock", f"{tmp_path}/adm*.sock"))
    with pytest.raises(te.ConfigurationError, match=rf"which edge\? --edge {fake.address}, or --edge {fake.address}"):
        address()


def test_the_file_of_this_folder_is_meant_where_no_socket_is(tmp_path: Path) -> None:
    Path("edge.toml").write_text(
        '[edge.shop]\nlisten = "tcp://127.0.0.1:0"\nadmin = "unix:///run/shop.sock"\n'
        'endpoint = { use = "forward", to = "tcp://127.0.0.1:1" }\n'
    )
    assert address() == "unix:///run/shop.sock"


def token(**said: str) -> str | None:
    return Asked(edge="unix:///run/x.sock", **said).client().token  # type: ignore[arg-type]


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert token() is None
    monkeypatch.setenv("TRIOEDGE_TOKEN", "of the environment")
    assert token() == "of the environment"
    (tmp_path / "token").write_text("of a file\n")
    assert token(token_file="token") == "of a file"
    for text, fault in ((b"", "is empty"), (b"a\nb", "characters that HTTP cannot carry"), (b"\xff", "UTF-8")):
        (tmp_path / "token").write_bytes(text)
        with pytest.raises(te.ConfigurationError, match=fault):
            token(token_file="token")
    with pytest.raises(te.ConfigurationError, match="cannot be read"):
        token(token_file="none")


def test_ctrl_c_ends_a_command_with_the_code_of_shells(fake: FakeEdge) -> None:
    async def act(client: EdgeClient) -> int:
        raise KeyboardInterrupt

    assert Asked().run(act) == INTERRUPTED


def test_an_answer_of_another_version_is_one_line(fake: FakeEdge, capsys: pytest.CaptureFixture[str]) -> None:
    from trioedge.cli import main

    fake.answers["GET", "/v1/sessions"] = (200, {"items": [{"id": 1}], "next": None})
    assert main(["sessions"]) == 3
    error = capsys.readouterr().err
    assert error.startswith(f"trioedge: {fake.address} does not answer as this command reads it: its trioedge is of")
    assert error.count("\n") == 1


def test_json_is_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Asked().print_json({"a": [1, 2]})
    out = capsys.readouterr().out
    assert (json.loads(out), out.count("\n")) == ({"a": [1, 2]}, 1)


def test_workers_whose_part_an_answer_lacks_are_named_behind_it(
    fake: FakeEdge, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.missing = "1, 0"

    async def act(client: EdgeClient) -> None:
        for _ in range(2):
            await client.get("/v1/statistics")

    assert Asked(edge=fake.address).run(act) == 0
    assert capsys.readouterr().err == "worker 0, 1 did not answer in time: this is without what it has\n"
