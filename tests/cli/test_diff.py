import io
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
import trio

import trioedge as te
from tests.support.command_line import finished
from trioedge.cli import main
from trioedge.cli.client.errors import UNREACHABLE
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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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


def test_bytes_and_moments_are_shown_as_a_file_has_them(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    new = OLD.replace(
        "[services.blog]",
        """quota_bytes = "50 GB"
quota_used = 1_234_567_890
expires_at = 2027-01-31T02:00:00+02:00
[services.blog]
quota_bytes = "1 GiB"
""",
    )
    assert main(["diff", write("old.toml", OLD), write("new.toml", new)]) == 0
    lines = [line.partition(" (")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "shop: quota_bytes none -> 50 GB",
        "shop: quota_used 0 B -> 1234567890 B",
        "shop: expires_at none -> 2027-01-31T00:00:00Z",
        "blog: quota_bytes none -> 1073741824 B",
        "changes 2 services",
    ]


def test_a_date_without_a_time_zone_is_a_fault_that_says_how_to_write_it(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    for said in ("2027-01-31", "2027-01-31T12:00:00"):
        new = write("new.toml", f"[services.a]\nexpires_at = {said}\n")
        assert main(["diff", new, write("old.toml", OLD)]) == 2
        error = capsys.readouterr().err
        assert "as in '2027-01-31T" in error


def test_listeners_are_shown_by_their_addresses(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        write(f"{number}.toml", f"[services.a]\nlisten = {listen}")
        for number, listen in enumerate(([], ["tcp://0.0.0.0:20001", "tcp://[::]:20002"], ["tcp://0.0.0.0:20003"]))
    ]
    for old, new, change in (
        (*files[:2], "none -> tcp://0.0.0.0:20001, tcp://[::]:20002"),
        (*files[1:], "tcp://0.0.0.0:20001, tcp://[::]:20002 -> tcp://0.0.0.0:20003"),
    ):
        assert main(["diff", old, new]) == 0
        assert capsys.readouterr().out.splitlines()[0] == f"a: listen {change} (keep: {WORDS[te.Fate.KEEP]})"


def test_a_password_is_never_shown(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    hashes = [te.hash_password(password) for password in ("one", "two")]
    files = [write(f"{number}.toml", f'[services.a]\npassword_hash = "{each}"') for number, each in enumerate(hashes)]
    assert main(["diff", *files]) == 0
    out = capsys.readouterr().out
    assert out.startswith("a: password_hash set -> set (evict: ")
    assert not any(each in out for each in hashes)


MANY = "".join(f"[services.s{number}]\n" for number in range(12))
REFUSED = "new.toml: an edge refuses it: it would remove {}: if that is meant, write allow_removal = true at its head"


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        (MANY, "[services.s0]\n", "11 of 12 services"),
        (MANY, "[services]\n", "12 of 12 services"),
        ("[services.s0]\n", "[services]\n", "the only service"),
        (MANY, "[services.s0]\n[services.s1]\n", None),
        (MANY, "allow_removal = true\n[services.s0]\n", None),
        (MANY, "allow_removal = true\n[services]\n", None),
    ],
    ids=["all but one", "all", "the only one", "ten", "all but one, allowed", "all, allowed"],
)
def test_a_file_that_an_edge_refuses_for_its_removals_is_code_2(
    write: Write, capsys: pytest.CaptureFixture[str], old: str, new: str, refused: str | None
) -> None:
    code = main(["diff", write("old.toml", old), write("new.toml", new)])
    out, error = capsys.readouterr()
    assert "s11: is no more" in out or "s0: is no more" in out, "the changes are shown all the same"
    if refused is None:
        assert (code, error) == (0, "")
    else:
        assert code == te.ExitCode.CONFIGURATION
        assert REFUSED.format(refused) in error
        assert error.count("\n") == 1


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
        (["none.toml", "--edge", "unix:///x", "--target", "x.py"], "--target is for two files: the edge at --edge"),
        (["a.toml", "b.toml", "--target", "nowhere.py"], "nowhere.py: no such file"),
        (["none.toml", "--edge", "nowhere"], "no module named 'nowhere'"),
        (["none.toml", "--edge", "/x"], "address '/x' must begin with tcp:// or unix://: write 'unix:///x'"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
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


async def test_a_serving_edge_says_how_many_sessions_would_be_touched(write: Write, tmp_path: Path) -> None:
    path, local = write("old.toml", "[services.default]\ndown_rate = 1_000_000"), f"unix://{tmp_path}/edge.sock"
    async with trio.open_nursery() as nursery:
        upstream = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = upstream[0].socket.getsockname()[1]
        edge = te.Edge(
            "tcp://127.0.0.1:0", [te.Pacing(), te.SourceMatch()], te.Forward(f"tcp://127.0.0.1:{port}"),
            control=te.FileControl(path), admin=local,
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
            assert await finished("diff", file, "--edge", local) == (0, f"{says}\n", "")
        assert len(edge.sessions) == 3, "asking changes nothing"
        faulty = write("faulty.toml", "[services.default]\nsession_rate = 0\n[services.default.hours]\nsince = 8")
        code, out, error = await finished("diff", faulty, "--edge", local)
        assert (code, out) == (te.ExitCode.CONFIGURATION, "")
        assert error == (
            f"trioedge: {faulty}: services.default has no table 'hours': no stage names a class of keys, as in "
            "@te.decision(policy=Hours); "
            "services.default.session_rate = 0 must be a number above 0\n"
        )
        missing = await finished("diff", "missing.toml", "--edge", local)
        assert missing[2].startswith("trioedge: missing.toml: cannot be read")
        for each in (*clients, *upstream):
            await each.aclose()
        nursery.cancel_scope.cancel()
    code, out, error = await finished("diff", path, "--edge", local)
    assert (code, out) == (UNREACHABLE, "")
    assert error.startswith(f"trioedge: {local} is not there: the edge does not run")


def test_an_answer_before_the_whole_file_is_sent_is_read(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest of the file is larger than the buffer of a socket."""
    path = write("large.toml", "".join(f"[services.s{number}]\n" for number in range(20_000)))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{tmp_path}/edge.sock")
    listener.listen()

    def answer_and_close() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            body = b'{"faults": ["is too large"]}'
            connection.sendall(b"HTTP/1.1 422 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    answering = Thread(target=answer_and_close)
    answering.start()
    assert main(["diff", path, "--edge", f"unix://{tmp_path}/edge.sock"]) == te.ExitCode.CONFIGURATION
    answering.join()
    listener.close()
    assert capsys.readouterr().err == f"trioedge: {path}: is too large\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnone",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 422 No\r\nContent-Length: 2\r\n\r\n[]",
    ],
)
def test_a_wrong_answer_counts_as_no_answer(
    answer: bytes, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{tmp_path}/edge.sock")
    listener.listen()

    def answer_once() -> None:
        connection, _ = listener.accept()
        with connection:
            while not connection.recv(65_536).endswith(b"0\r\n\r\n"):
                pass
            connection.sendall(answer)

    answering = Thread(target=answer_once)
    answering.start()
    assert main(["diff", write("new.toml", OLD), "--edge", f"unix://{tmp_path}/edge.sock"]) == UNREACHABLE
    answering.join()
    listener.close()
    local = f"trioedge: unix://{tmp_path}/edge.sock"
    assert capsys.readouterr().err.startswith(
        (f"{local} is no admin API of trioedge: ", f"{local} does not answer as this command reads it: ")
    )


EDGE = """\
import attrs
import trioedge as te


@attrs.frozen
class Hours:
    since: int = 0
    until: int = attrs.field(default=24, metadata={"fate": "recheck"})
    days: tuple[str, ...] = ()
    token: str = attrs.field(default="", repr=False)


class OpenHours:
    policy = Hours

    def decide(self, session):
        return te.CONTINUE


edge = te.Edge("tcp://127.0.0.1:0", [OpenHours()], te.Forward("tcp://127.0.0.1:1"))
"""

HOURS = '[services.shop.hours]\nsince = 8\nuntil = 18\ndays = ["mon"]\ntoken = "old"\n'


def test_keys_of_stages_are_compared_with_the_edge_as_target(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    new = HOURS.replace("8", "9").replace('"mon"', '"mon", "tue"').replace("old", "new")
    files = write("old.toml", OLD + HOURS), write("new.toml", OLD + new)
    target = write("edge_of_hours.py", EDGE)
    assert main(["diff", *files, "--target", target]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    assert out.splitlines() == [
        "shop: hours.since 8 -> 9 (keep: live sessions stay as they are)",
        f"shop: hours.until 18 -> 19 (recheck: {WORDS[te.Fate.RECHECK]})",
        "shop: hours.days 1 entry -> 2 entries (keep: live sessions stay as they are)",
        "shop: hours.token set -> set (keep: live sessions stay as they are)",
        "changes 1 service",
    ]
    assert main(["diff", write("bare.toml", OLD), files[0], "--target", f"{target}:edge"]) == 0
    assert capsys.readouterr().out.startswith("shop: hours.since 0 -> 8 (keep: live")


def test_a_table_of_a_stage_is_a_fault_that_asks_for_a_target(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write("old.toml", OLD + HOURS)
    assert main(["diff", path, path]) == te.ExitCode.CONFIGURATION
    assert capsys.readouterr().err == (
        f"trioedge: {path}: services.shop has no table 'hours': if a stage reads it, say which: --target edge.py\n"
    )


def test_a_terminal_gets_a_table_with_texts_as_they_are(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["diff", write("old.toml", OLD), write("new.toml", OLD + '[services."[b]x"]\n')]) == 0
    assert "[b]x" in terminal.getvalue()
