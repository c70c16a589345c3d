"""`trioedge check`: the chain in words, and the faults that keep an edge from starting."""

import io
import re
import sys
from pathlib import Path

import pytest

import trioedge as te
from trioedge.cli import main

EDGE = """\
import trioedge as te

@te.decision
def office_hours(session):
    return te.CONTINUE

@te.middleware
async def watched(session, call_next):
    return await call_next(session)

class Quota:
    def decide(self, session):
        return te.CONTINUE

gate, forward = te.SessionGate(rate=200, burst=32), te.Forward("tcp://127.0.0.1:6379")
edge = te.Edge(["tcp://127.0.0.1:6380", "unix:///run/x.sock"], [gate, office_hours, watched, Quota()], forward)
lean = te.Edge("tcp://127.0.0.1:6381", [gate], forward)
socks = te.Edge("tcp://127.0.0.1:6382", [gate, te.Socks(), office_hours], te.Forward())
both = [te.Socks(answer="at_once"), watched, te.HttpConnect(), office_hours]
tasks = te.Edge("tcp://127.0.0.1:6383", both, te.Forward())
"""


LINES = """\
edge: x.py
listen: tcp://127.0.0.1:6380
listen: unix:///run/x.sock
leading decisions: run in the accept loop, before a task exists
  1. SessionGate(rate=200, burst=32, per='service')
  2. office_hours
middleware: wraps everything below it
  3. watched
decisions: run in the session's task
  4. Quota
endpoint: carries the session to its end
  5. Forward('tcp://127.0.0.1:6379', connect_seconds=5)
task: one each, after the leading decisions; watched needs it
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _edge() -> None:
    Path("x.py").write_text(EDGE)


def test_in_a_pipe_the_chain_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "x.py"]) == 0
    assert capsys.readouterr() == (LINES, "")


def test_a_handshake_needs_no_task_and_decisions_behind_it_run_once_it_has_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "x.py:socks"]) == 0
    assert capsys.readouterr().out.splitlines()[4:] == [
        "handshake: talks with the client in the relay loop, before a task exists",
        "  2. Socks(auth=None, answer='after_connect'): at most 10 s and 4,096 bytes",
        "decisions: run when the handshake above has ended",
        "  3. office_hours",
        "endpoint: carries the session to its end",
        "  4. Forward(connect_seconds=5)",
        "task: none for plain sockets: the relay loop carries them",
    ]


def test_a_handshake_behind_a_middleware_runs_in_its_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "x.py:tasks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")][2:] == [
        "handshake: talks with the client in the relay loop, before a task exists",
        "middleware: wraps everything below it",
        "handshake: talks with the client in the session's task",
        "decisions: run in the session's task",
        "endpoint: carries the session to its end",
        "task: one each, after the handshakes; watched needs it",
    ]


def test_an_edge_of_decisions_and_a_forward_needs_no_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "x.py:lean"]) == 0
    assert "task: none for plain sockets: the relay loop carries them\n" in capsys.readouterr().out


TALKS = """\
import trioedge as te

@te.handshake(seconds=3, max_bytes=64)
def token(session):
    yield te.Read(1)
    return te.CONTINUE

@te.decision
def office_hours(session):
    return te.CONTINUE

@te.middleware
async def watched(session, call_next):
    return await call_next(session)

forward = te.Forward("tcp://127.0.0.1:6379")
edge = te.Edge("tcp://127.0.0.1:6380", [office_hours, token, office_hours, watched, token, office_hours], forward)
lean = te.Edge("tcp://127.0.0.1:6380", [token], forward)
behind = te.Edge("tcp://127.0.0.1:6380", [office_hours, watched, token], forward)
"""

CHAIN_THAT_TALKS = """\
leading decisions: run in the accept loop, before a task exists
  1. office_hours
handshake: talks with the client in the relay loop, before a task exists
  2. token: at most 3 s and 64 bytes
decisions: run when the handshake above has ended
  3. office_hours
middleware: wraps everything below it
  4. watched
handshake: talks with the client in the session's task
  5. token: at most 3 s and 64 bytes
decisions: run in the session's task
  6. office_hours
endpoint: carries the session to its end
  7. Forward('tcp://127.0.0.1:6379', connect_seconds=5)
task: one each, after the handshakes; watched needs it
"""


def test_a_handshake_is_a_phase_with_its_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(TALKS)
    assert main(["check", "x.py:edge"]) == 0
    assert capsys.readouterr().out.endswith(CHAIN_THAT_TALKS)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("lean", "none for plain sockets: the relay loop carries them"),
        ("behind", "one each, after the leading decisions; watched needs it"),
    ],
)
def test_a_handshake_by_itself_needs_no_task(name: str, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(TALKS)
    assert main(["check", f"x.py:{name}"]) == 0
    assert capsys.readouterr().out.endswith(f"task: {task}\n")


def test_an_endpoint_that_lacks_a_part_of_the_reactor_s_protocol_needs_a_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("x.py").write_text(
        EDGE + "class Own:\n    async def __call__(self, session): return te.Completed()\n"
        "    def begin(self, *arguments): ...\nown = te.Edge('tcp://127.0.0.1:6382', [gate], Own())\n"
    )
    assert main(["check", "x.py:own"]) == 0
    assert "task: one each, after the leading decisions; Own needs it\n" in capsys.readouterr().out


GOVERNED = """\
import trioedge as te
edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward(), control=te.FileControl("services.toml"))
"""


def test_a_forward_without_a_destination_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text('import trioedge as te\nedge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward())\n')
    assert main(["check", "x.py"]) == te.ExitCode.CONFIGURATION
    assert "Forward() names no destination, and no control plane names one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("services", "fault"),
    [
        (None, "services.toml: cannot be read in "),
        ("", "services.toml: has no table [services]"),
        ("[services.shop]\nsession_rate = 0", "services.toml: services.shop.session_rate = 0 must be"),
        ("[services.shop]\naccept = ['nowhere']", "services.toml: services.shop.accept[0]"),
        (f"[services.{'x' * 256}]", "services.toml: services.'xxx"),
    ],
)
def test_every_fault_of_the_file_of_services_is_a_fault_of_the_edge(
    services: str | None, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("x.py").write_text(GOVERNED)
    if services is not None:
        Path("services.toml").write_text(services)
    assert main(["check", "x.py"]) == te.ExitCode.CONFIGURATION
    said = capsys.readouterr()
    assert said.err.startswith(f"trioedge: {fault}")
    assert said.out == ""


def test_a_file_of_services_without_faults_prints_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(GOVERNED)
    Path("services.toml").write_text('[services.default]\noutbound = "tcp://192.0.2.1:80"')
    assert main(["check", "x.py"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("edge: x.py\n")
    assert said.err == ""


def test_a_policy_key_that_no_stage_enforces_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(GOVERNED.replace("[]", "[te.Pacing()]"))
    asks = 'down_rate = 1\nsession_rate = 3\noutbound = "tcp://192.0.2.1:80"'
    Path("services.toml").write_text("".join(f"[services.{name}]\n{asks}\n" for name in "abcd"))
    assert main(["check", "x.py"]) == 0
    said = capsys.readouterr()
    assert "policy not enforced: no stage reads it keys=['session_rate'] services=['a', 'b', 'c']\n" in said.err
    assert said.out.startswith("edge: x.py\n")


def test_fields_that_the_edge_itself_enforces_are_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(GOVERNED)
    asks = 'enabled = false\nmax_sessions = 3\nquota_bytes = "5 GB"\nexpires_at = 2027-01-31T00:00:00Z'
    Path("services.toml").write_text(f"[services.a]\n{asks}\noutbound = 'tcp://192.0.2.1:80'\n")
    assert main(["check", "x.py"]) == 0
    assert capsys.readouterr().err == ""


def test_a_service_without_a_destination_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(GOVERNED)
    Path("services.toml").write_text(
        '[services.a]\n[services.b]\noutbound = "tcp://192.0.2.1:80"\n[services.c]\nenabled = false\n'
    )
    assert main(["check", "x.py"]) == 0
    said = capsys.readouterr()
    assert "policy names no destination: its sessions will be refused services=['a']\n" in said.err
    assert said.out.startswith("edge: x.py\n")


NAMED = GOVERNED.replace("control=", "outbounds={'cluster': te.Balanced(['tcp://192.0.2.1:80'])}, control=")


def test_the_outbounds_that_policies_may_name_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(NAMED)
    Path("services.toml").write_text('[services.a]\noutbound = "cluster"')
    assert main(["check", "x.py"]) == 0
    said = capsys.readouterr()
    assert "outbound cluster: Balanced(['tcp://192.0.2.1:80'], 'least_sessions')\n" in said.out
    assert said.err == ""


def test_every_service_that_names_an_unknown_outbound_is_a_fault_of_the_edge(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("x.py").write_text(NAMED)
    Path("services.toml").write_text('[services.a]\noutbound = "clutser"\n[services.b]\noutbound = "x"')
    assert main(["check", "x.py"]) == te.ExitCode.CONFIGURATION
    said = capsys.readouterr()
    assert "services.a.outbound = 'clutser' is no outbound of this edge (did you mean cluster?)" in said.err
    assert "services.b.outbound = 'x' is no outbound of this edge" in said.err


OPEN = """\
import trioedge as te

ports = ["tcp://0.0.0.0:20000-29999", "tcp://127.0.0.1:3000"]
edge = te.Edge([{own}], [], te.Forward(), control=te.FileControl("services.toml"), open_ports=ports)
"""


def test_the_ports_that_are_open_to_services_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(OPEN.format(own=""))
    Path("services.toml").write_text('[services.a]\nlisten = ["tcp://0.0.0.0:20001"]\ndestination = "tcp://x.test:1"')
    assert main(["check", "x.py"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("edge: x.py\nlisten for services: tcp://0.0.0.0:20000-29999, tcp://127.0.0.1:3000\n")
    assert said.err == ""


@pytest.mark.parametrize(
    ("services", "fault"),
    [
        ('[services.a]\nlisten = ["tcp://0.0.0.0:0"]', "services.a.listen[0] = 'tcp://0.0.0.0:0' is no listener: port"),
        (
            '[services.a]\nlisten = ["tcp://0.0.0.0:80"]',
            "services.a.listen[0] = 'tcp://0.0.0.0:80' is outside of open_",
        ),
        (
            '[services.a]\nlisten = ["tcp://127.0.0.1:20080"]',
            "services.a.listen[0] = 'tcp://127.0.0.1:20080' is tcp://127.0.0.1:20080, where the edge itself listens",
        ),
        (
            '[services.a]\nlisten = ["tcp://0.0.0.0:20001"]\n[services.b]\nlisten = ["tcp://127.0.0.1:20001"]',
            "services.b.listen[0] = 'tcp://127.0.0.1:20001' is taken: services.a has the listener tcp://0.0.0.0:20001.",
        ),
        (
            '[services.a]\nlisten = ["tcp://0.0.0.0:20001"]\n[services.b]\ndestination = "tcp://127.0.0.1:20001"',
            "services.b leads to 'tcp://127.0.0.1:20001', where this edge listens for services.a",
        ),
    ],
)
def test_a_listener_that_an_edge_refuses_is_a_fault_of_the_file(
    services: str, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("x.py").write_text(OPEN.format(own="'tcp://localhost:80', 'tcp://127.0.0.1:20080'"))
    Path("services.toml").write_text(services)
    assert main(["check", "x.py"]) == te.ExitCode.CONFIGURATION
    assert fault in capsys.readouterr().err


def test_a_listener_without_open_ports_is_a_fault_that_says_how_to_allow_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(GOVERNED)
    Path("services.toml").write_text('[services.a]\nlisten = ["tcp://0.0.0.0:20001"]')
    assert main(["check", "x.py"]) == te.ExitCode.CONFIGURATION
    assert "Write Edge(open_ports='tcp://0.0.0.0:20000-29999')" in capsys.readouterr().err


WATCHED = """\
import trioedge as te

class Counts:
    async def observe(self, batch):
        pass

class Panel:
    async def run(self, link, *, task_status):
        pass

    def __repr__(self):
        return "Panel('x.test')"

edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward(), control=Panel(), observers=[Counts()])
"""


def test_the_control_plane_and_the_observers_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(WATCHED)
    assert main(["check", "x.py"]) == 0
    assert "control: Panel('x.test')\nobserver: Counts\ntask: " in capsys.readouterr().out


def test_on_a_terminal_they_are_in_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("x.py").write_text(WATCHED)
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["check", "x.py"]) == 0
    shown = re.sub("\x1b\\[[0-9;]*m", "", terminal.getvalue())
    lines = [line.strip("│├└─ ") for line in shown.splitlines()]
    assert "control plane  Panel('x.test')" in lines
    assert lines[lines.index("observers  are told of sessions, and delay none") + 1] == "Counts"


def test_on_a_terminal_the_chain_is_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["check", "x.py"]) == 0
    shown = terminal.getvalue()
    assert "└──" in shown
    assert all(
        text in shown for text in ("leading decisions", "office_hours", "unix:///run/x.sock", "watched needs it")
    )


def test_the_tables_of_stages_are_read_with_the_chain(capsys: pytest.CaptureFixture[str]) -> None:
    Path("hours.py").write_text(
        "import attrs\n"
        "import trioedge as te\n\n"
        "@attrs.frozen\n"
        "class Hours:\n"
        "    since: int = 0\n\n"
        "class OpenHours:\n"
        "    policy = Hours\n"
        "    def decide(self, session):\n"
        "        return te.CONTINUE\n\n"
        "edge = te.Edge('tcp://127.0.0.1:0', [OpenHours()], te.Forward('tcp://127.0.0.1:1'),\n"
        "               control=te.FileControl('services.toml'))\n"
    )
    Path("services.toml").write_text("[services.default.hours]\nsince = 8\n")
    assert main(["check", "hours.py"]) == 0
    Path("services.toml").write_text("[services.default.hours]\nsince = '8'\n")
    assert main(["check", "hours.py"]) == te.ExitCode.CONFIGURATION
    fault = "services.toml: services.default.hours.since = '8' must be a whole number"
    assert capsys.readouterr().err == f"trioedge: {fault}\n"


def test_lines_that_the_target_prints_or_logs_are_no_part_of_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "edge.py"
    target.write_text(
        "import structlog, trioedge as te\nprint('hello')\nstructlog.get_logger().info('loaded')\n"
        "edge = te.Edge('tcp://127.0.0.1:7300', [], te.Forward('tcp://127.0.0.1:9'))\n"
    )
    assert main(["check", str(target)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"edge: {target}\nlisten: ")
    assert "hello" not in said.out
    assert "loaded" not in said.out
    assert "hello" in said.err
