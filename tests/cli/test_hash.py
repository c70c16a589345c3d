import io

import pytest
import trio

import trioedge as te
from trioedge.cli import main
from trioedge.services.passwords import Passwords


def verified(password: str, hashed: str) -> bool:
    return trio.run(Passwords().verify, password, hashed)


def test_the_first_line_of_stdin_is_hashed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("open sesame \r\nmore\n"))
    assert main(["hash"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("$scrypt$ln=14,")
    assert verified("open sesame ", said.out.rstrip("\n"))
    assert said.err == ""


def test_on_a_terminal_the_password_is_typed_unseen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin = io.StringIO()
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr("trioedge.cli.hash.getpass", lambda prompt: "x" * 30)
    assert main(["hash", "--kind", "sha256"]) == 0
    said = capsys.readouterr().out
    assert said == te.hash_password("x" * 30, kind="sha256") + "\n"


def test_a_secret_is_generated_with_its_hash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hash", "--generate"]) == 0
    secret, hashed = (line.partition(": ")[2] for line in capsys.readouterr().out.splitlines())
    assert verified(secret, hashed)


@pytest.mark.parametrize(
    ("typed", "options", "fault"),
    [
        ("\n", [], "there is no password"),
        ("", [], "there is no password"),
        ("short\n", ["--kind", "sha256"], "a secret for sha256 has at least 22 random letters"),
        ("x" * 2000, [], "a password has 1 to 1024 bytes"),
    ],
)
def test_a_password_that_cannot_be_hashed_is_one_line_without_it(
    typed: str,
    options: list[str],
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["hash", *options]) == te.ExitCode.CONFIGURATION
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"trioedge: {fault}")
    assert "short" not in said.err.replace(fault, "")
