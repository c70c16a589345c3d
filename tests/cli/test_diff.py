from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.command_line import finished
from trioedge.cli import main
from trioedge.cli.diff import WORDS

OLD = """\
[services.shop]
session_rate = 20
down_rate = "10 MB/s"
accept = ["10.0.0.0/8"]
outbound = "tcp://192.0.2.1:80"

[services.blog]
"""

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_each_field_is_shown_with_the_fate_of_live_sessions(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    new = OLD.replace("20", "30").replace('"10 MB/s"', "5_000_000").replace('["10.0.0.0/8"]', '["10.0.0.0/8", "::1"]')
    new = new.replace("blog", "forum")
    assert main(["diff", write("old.toml", OLD), write("new.toml", new)]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    assert out.splitlines() == [
        "shop: session_rate 20 -> 30 (keep: live sessions stay as they are)",
        "shop: down_rate 10 MB/s -> 5 MB/s (retune: live sessions go on with the new value)",
        f"shop: accept 1 entry -> 2 entries (recheck: {WORDS[te.Fate.RECHECK]})",
        "forum: is new",
        "blog: is no more (evict: live sessions are cut)",
        "adds 1 service, changes 1 service, removes 1 service",
    ]


def test_a_password_is_never_shown(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    hashes = [te.hash_password(password) for password in ("one", "two")]
    files = [write(f"{number}.toml", f'[services.a]\npassword_hash = "{each}"') for number, each in enumerate(hashes)]
    assert main(["diff", *files]) == 0
    out = capsys.readouterr().out
    assert out.startswith("a: password_hash set -> set (evict: ")
    assert not any(each in out for each in hashes)


def test_equal_files_change_nothing(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write("old.toml", OLD)
    assert main(["diff", path, path]) == 0
    assert capsys.readouterr().out == "changes nothing\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["none.toml", "none.toml"], "none.toml: cannot be read"),
        (["none.toml"], "diff wants two files, or one file and --edge"),
        (["a", "b", "--edge", "unix:///x"], "diff wants two files, or one file and --edge"),
        (["none.toml", "--edge", "nowhere"], "--edge 'nowhere' must be a local socket, as in unix:///run"),
        (["none.toml", "--edge", "tcp://127.0.0.1:6380"], "--edge 'tcp://127.0.0.1:6380' must be a local socket"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *arguments]) == te.ExitCode.CONFIGURATION
    assert capsys.readouterr().err.startswith(f"trioedge: {error}")


def test_every_fault_of_a_file_is_listed(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write("bad.toml", '[services.a]\nsession_rate = 0\nreject = ["x"]\ncolour = "red"')
    assert main(["diff", path, path]) == te.ExitCode.CONFIGURATION
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(
        f"services.a{what}" in error for what in (".session_rate = 0 must be", ".reject[0] = 'x'", " has no key")
    )


async def test_a_serving_edge_says_how_many_sessions(write: Write, tmp_path: Path) -> None:
    path, socket = write("old.toml", "[services.default]\ndown_rate = 1_000_000"), f"unix://{tmp_path}/edge.sock"
    async with trio.open_nursery() as nursery:
        upstream = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = upstream[0].socket.getsockname()[1]
        edge = te.Edge(
            "tcp://127.0.0.1:0", [te.Pacing(), te.SourceMatch()], te.Forward(f"tcp://127.0.0.1:{port}"),
            control=te.FileControl(path), admin=socket,
        )  # fmt: skip
        await nursery.start(edge.serve)
        clients = [await trio.open_tcp_stream("127.0.0.1", int(edge.addresses[0].rpartition(":")[2])) for _ in "123"]
        while len(edge.sessions) < 3:
            await trio.sleep(0.01)
        slower = write("slower.toml", "[services.default]\ndown_rate = 500_000")
        closed = write("closed.toml", '[services.default]\ndown_rate = 1_000_000\nreject = ["127.0.0.0/8"]')
        for file, says in (
            (slower, "changes 1 service; retunes 3 sessions"),
            (closed, "changes 1 service; evicts 3 sessions"),
        ):
            assert await finished("diff", file, "--edge", socket) == (0, f"{says}\n", "")
        assert len(edge.sessions) == 3, "asking changes nothing"
        for each in (*clients, *upstream):
            await each.aclose()
        nursery.cancel_scope.cancel()
    code, out, error = await finished("diff", path, "--edge", socket)
    assert (code, out) == (te.ExitCode.FAULT, "")
    assert error.startswith(f"trioedge: {socket} does not answer: ")
