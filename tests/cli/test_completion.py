"""`trioedge completion`, in the shells that it is for."""

import os
import pty
import select
import time
from pathlib import Path

import pytest

from tests.support.programs import output
from trioedge.cli import main
from trioedge.cli.completion import Shell, place, script
from trioedge.cli.parser import COMMANDS

PATIENCE = 20


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A folder with the scripts, and two files that may be targets."""
    shells: tuple[Shell, ...] = ("bash", "zsh", "fish")
    for shell in shells:
        (tmp_path / f"script.{shell}").write_text(script(shell))
    (tmp_path / "edge.toml").touch()
    return tmp_path


async def completed_by_bash(folder: Path, *words: str) -> list[str]:
    given = " ".join(f"'{word}'" for word in words)
    code = (
        f"cd {folder}; source script.bash; COMP_WORDS=({given}); COMP_CWORD={len(words) - 1}; _trioedge; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return (await output("bash", "--norc", "-c", code)).split()


async def test_bash_completes_commands_options_and_choices(scripts: Path) -> None:
    assert await completed_by_bash(scripts, "trioedge", "") == [*COMMANDS]
    assert await completed_by_bash(scripts, "trioedge", "ru") == ["run"]
    assert "--drain-seconds" in await completed_by_bash(scripts, "trioedge", "run", "--")
    assert await completed_by_bash(scripts, "trioedge", "run", "--log-level", "w") == ["warning"]
    assert await completed_by_bash(scripts, "trioedge", "new", "pl") == ["plugin"]


async def test_bash_completes_targets_as_files(scripts: Path) -> None:
    assert await completed_by_bash(scripts, "trioedge", "check", "edge") == []
    said = await output("bash", "--norc", "-c", f"source {scripts}/script.bash; complete -p trioedge")
    assert said == "complete -o default -F _trioedge trioedge\n"


@pytest.mark.peer("fish")
async def test_fish_completes_commands_choices_and_files(scripts: Path) -> None:
    async def completed(line: str) -> list[str]:
        said = await output("fish", "--no-config", "-c", f"cd {scripts}; source script.fish; complete -C '{line}'")
        return [each.partition("\t")[0] for each in said.splitlines()]

    assert await completed("trioedge ru") == ["run"]
    assert await completed("trioedge run --log-format ") == ["console", "json"]
    assert "edge.toml" in await completed("trioedge check edg")


@pytest.mark.peer("zsh")
@pytest.mark.parametrize("way", ["sourced", "installed"])
@pytest.mark.parametrize(
    ("typed", "shown"), [("trioedge sche", b"trioedge schema"), ("trioedge check edg", b"trioedge check edge.toml")]
)
def test_zsh_completes_commands_and_files(typed: str, shown: bytes, way: str, scripts: Path) -> None:
    begin = f"cd {scripts}; autoload -U compinit; compinit -D -u; source script.zsh"
    if way == "installed":
        (scripts / "_trioedge").write_text(script("zsh"))
        begin = f"cd {scripts}; fpath+=({scripts}); autoload -U compinit; compinit -D -u"
    child, terminal = pty.fork()
    if not child:
        os.execvp("env", ["env", "TERM=dumb", "PS1=>", "zsh", "-f", "-i"])
    said = b""
    try:
        os.write(terminal, f"{begin}; echo be''gun\n".encode())
        until, tabbed = time.monotonic() + PATIENCE, False
        while shown not in said:
            assert select.select([terminal], [], [], max(0, until - time.monotonic()))[0], said
            said += os.read(terminal, 65536)
            if b"begun" in said and not tabbed:
                os.write(terminal, f"{typed}\t".encode())
                tabbed = True
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)


@pytest.mark.parametrize(
    ("shell", "says"),
    [("bash", "the package bash-completion"), ("zsh", "fpath+=("), ("fish", "")],
)
def test_it_is_written_where_the_shell_looks_and_nothing_else_is(
    shell: Shell, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert main(["completion", shell, "--install"]) == 0
    path = place(shell, {}, tmp_path)
    out = capsys.readouterr().out
    assert out.startswith(f"wrote {path}\n")
    assert says in out
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out == path.read_text()


def test_the_folders_of_xdg_are_kept_to() -> None:
    home = Path("/home/u")
    assert place("fish", {"XDG_CONFIG_HOME": "/c"}, home) == Path("/c/fish/completions/trioedge.fish")
    assert place("bash", {"XDG_DATA_HOME": "/d"}, home) == Path("/d/bash-completion/completions/trioedge")
    assert place("zsh", {}, home) == Path("/home/u/.zfunc/_trioedge")


def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".zfunc").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["completion", "zsh", "--install"]) == 2
    assert capsys.readouterr().err.startswith(f"trioedge: {tmp_path}/.zfunc/_trioedge cannot be written: ")


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "csh"]) == 2
    assert "csh" in capsys.readouterr().err
