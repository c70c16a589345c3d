"""`trioedge top` as a whole: in a pseudo terminal, and in a pipe."""

import json
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.fake_edge import POINTS, STAGE, STATISTICS, TOP, Asking, FakeEdge, fake_edge
from tests.support.pseudo_terminal import PseudoTerminal, on_terminal
from trioedge.cli.top import command as top_command

OTHER_SCREEN, OWN_SCREEN, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


@pytest.fixture
def terminal(fake: FakeEdge) -> Iterator[PseudoTerminal]:
    with on_terminal("top", "--edge", fake.address) as terminal:
        terminal.shows("192.0.2.7")
        yield terminal


def is_restored(terminal: PseudoTerminal) -> bool:
    return terminal.attributes() == terminal.before and terminal.raw.rstrip().endswith(CURSOR + OWN_SCREEN)


def test_q_ends_and_gives_the_terminal_back(terminal: PseudoTerminal) -> None:
    terminal.type(b"q")
    assert terminal.ends() == 0
    assert is_restored(terminal)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_and_gives_the_terminal_back(number: signal.Signals, terminal: PseudoTerminal) -> None:
    terminal.process.send_signal(number)
    assert terminal.ends() == 0
    assert is_restored(terminal)


def test_keys_change_what_is_asked_and_shown(fake: FakeEdge, terminal: PseudoTerminal) -> None:
    terminal.type(b"\t")
    terminal.shows(" shop ")
    terminal.type(b"b\t")
    terminal.shows("phone of shop")
    asked = [(asking.query["by"], asking.query["order"]) for asking in fake.asked if asking.path == "/v1/top"]
    assert asked[0] == ("source", "live")
    assert ("service", "live") in asked
    assert asked[-1] == ("device", "bytes")


@pytest.mark.parametrize("sequence", [b"\x1bOP", b"\x1b[15~", b"\x1b[3~", b"\x1b[1;5A"])
def test_a_key_that_means_nothing_ends_nothing(sequence: bytes, terminal: PseudoTerminal) -> None:
    terminal.type(sequence)
    terminal.type(b"\t")
    terminal.shows(" shop ")
    terminal.type(b"q")
    assert terminal.ends() == 0


def test_a_chosen_row_is_evicted_after_a_question(fake: FakeEdge, terminal: PseudoTerminal) -> None:
    terminal.type(b"e\x1b[Be")
    terminal.shows("Cut 9 sessions of source 192.0.2.7? y cuts")
    terminal.type(b"n")
    terminal.shows("q quit")
    terminal.type(b"ey")
    terminal.shows("cut 12 sessions")
    assert [asking.body for asking in fake.asked if asking.method == "POST"] == [{"source": "192.0.2.7"}]
    fake.answers["POST", "/v1/evict"] = (500, {"error": "a fault"})
    terminal.type(b"ey")
    terminal.shows("nothing was cut: a fault")


def test_a_smaller_terminal_is_drawn_anew(terminal: PseudoTerminal) -> None:
    terminal.resize(40, 8)
    seen = terminal.shows("192.0.2.7")
    assert "highest" not in seen.rpartition("live 1,204")[2]
    terminal.resize(20, 3)
    terminal.shows("q quit")
    terminal.resize(200, 60)
    terminal.shows("in handshake 3")


def test_an_edge_that_goes_away_is_said_until_it_is_back(
    fake: FakeEdge, terminal: PseudoTerminal, tmp_path: Path
) -> None:
    path = Path(fake.address.removeprefix("unix://"))
    path.rename(tmp_path / "away")
    terminal.shows("no answer")
    terminal.resize(200, 24)
    terminal.shows(f"{fake.address} is not there; trying again")
    terminal.type(b"\t")  # and keys are obeyed
    (tmp_path / "away").rename(path)
    terminal.shows("serving")
    terminal.shows(" shop ")


def test_an_edge_that_is_not_there_is_one_line_without_another_screen(tmp_path: Path) -> None:
    with on_terminal("top", "--edge", f"unix://{tmp_path}/none.sock", columns=200) as terminal:
        assert terminal.ends() == 3
        assert OTHER_SCREEN not in terminal.raw
        assert b"none.sock is not there: the edge does not run" in terminal.raw


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_command, "LOOK_SECONDS", 0.001)


@pytest.mark.usefixtures("_at_once")
def test_without_a_terminal_one_frame_is_printed(fake: FakeEdge, command: Command) -> None:
    accepted = iter([100, 200])

    def counts(asking: Asking) -> tuple[int, object]:
        return 200, {**STATISTICS, "accepted": next(accepted)}

    fake.answers["GET", "/v1/statistics"] = counts
    code, out, error = command("top", "--by", "service")
    assert (code, error) == (0, "")
    assert "\x1b" not in out
    lines = out.splitlines()
    assert lines[0].startswith(" shop   serving  up 3 h 12 m")
    assert "new -" not in lines[1]
    assert any(line.split()[:2] == ["shop", "12"] for line in lines)
    assert "quit" not in out
    assert not any(a == b == "" for a, b in pairwise(lines)), "no two empty lines"


@pytest.mark.usefixtures("_at_once")
def test_json_is_one_document(fake: FakeEdge, command: Command) -> None:
    found = json.loads(command("top", "--json", "--by", "device")[1])
    assert found == {"statistics": STATISTICS, "devices": TOP["device"], "stages": [STAGE], "history": POINTS}


def test_an_edge_of_another_user_is_an_exit_code(command: Command, tmp_path: Path) -> None:
    with fake_edge(tmp_path) as edge:
        edge.token = "right"
        code, out, error = command("top", "--once", "--edge", edge.address)
    assert (code, out) == (1, "")
    assert error.startswith(f"trioedge: {edge.address} wants its token")
