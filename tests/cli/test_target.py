"""Targets of the command line: files and modules, their edges, and their faults."""

import subprocess
from pathlib import Path

import pytest

import trioedge as te
from tests.support.command_line import COMMAND
from trioedge.cli import main
from trioedge.cli.target import load

MADE = "te.Edge('tcp://127.0.0.1:0', [], te.Forward('tcp://127.0.0.1:1'))"


def write(name: str, *lines: str) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["import trioedge as te", *lines, ""]))
    return name


def test_a_file_gives_its_only_edge() -> None:
    assert isinstance(load(write("one.py", f"proxy = {MADE}")), te.Edge)


def test_an_edge_under_two_names_is_one() -> None:
    assert isinstance(load(write("twice.py", f"a = b = {MADE}")), te.Edge)


def test_of_several_edges_the_one_called_edge_is_taken() -> None:
    edge = load(
        write("several.py", f"admin = {MADE}", "edge = te.Edge('tcp://127.0.0.1:7', [], admin.outline.parts[-1])")
    )
    assert edge.listen == ("tcp://127.0.0.1:7",)


def test_a_name_takes_one_of_several_edges() -> None:
    target = write("named.py", f"edge = {MADE}", "other = te.Edge('tcp://127.0.0.1:7', [], edge.outline.parts[-1])")
    assert load(f"{target}:other").listen == ("tcp://127.0.0.1:7",)


def test_a_function_without_arguments_may_be_named() -> None:
    target = write("factory.py", f"def build(port=1):\n    return {MADE}")
    assert isinstance(load(f"{target}:build"), te.Edge)


def test_a_module_is_found_from_the_current_folder() -> None:
    write("shop/__init__.py")
    write("shop/front.py", f"edge = {MADE}")
    assert isinstance(load("shop.front:edge"), te.Edge)
    assert isinstance(load("shop.front"), te.Edge)


def test_a_file_finds_its_siblings() -> None:
    write("far/away/helper_of_it.py", f"made = {MADE}")
    assert isinstance(load(write("far/away/with_sibling.py", "from helper_of_it import made")), te.Edge)


def test_a_file_is_not_the_main_module() -> None:
    target = write(
        "guarded.py", f"edge = {MADE}", "if __name__ == '__main__':\n    raise SystemExit('ran as a script')"
    )
    assert isinstance(load(target), te.Edge)


def test_dataclasses_in_a_file_find_their_module() -> None:
    lines = ("import dataclasses", "@dataclasses.dataclass", "class Rule:\n    port: 'int' = 1", f"edge = {MADE}")
    assert isinstance(load(write("typed.py", *lines)), te.Edge)


@pytest.mark.parametrize(
    ("lines", "target", "message"),
    [
        ([], "absent.py", "absent.py: no such file"),
        ([], "folder/", "folder/: no such file"),
        ([], "absent:edge", "no module named 'absent'; a file is written absent.py"),
        ([], "", "target '' must be module:name or file.py[:name]"),
        ([], "x.py:", "target 'x.py:' must be module:name or file.py[:name]"),
        (
            [],
            "x.py",
            "x.py: no Edge at module level; write edge = te.Edge(...), or name a function, as in x.py:build",
        ),
        ([], "x.py:foo", "x.py: no Edge named 'foo'; it has none; write edge = te.Edge(...)"),
        ([f"edge = {MADE}", f"admin = {MADE}"], "x.py:foo", "x.py: no Edge named 'foo'; it has: edge, admin"),
        ([f"a = {MADE}", f"b = {MADE}"], "x.py", "x.py: which Edge? it has: a, b; write x.py:a"),
        (["number = 3"], "x.py:number", "x.py: 'number' is of type int, not an Edge"),
        (["def make(port): ..."], "x.py:make", "x.py: make() needs arguments; only one without may return an Edge"),
        (["async def make(): ..."], "x.py:make", "x.py: make() is async; a plain def may return an Edge"),
        (["def make(): ..."], "x.py:make", "x.py: make() returned None, not an Edge"),
        (["def make():", "    return 1 / 0"], "x.py:make", "x.py:3: ZeroDivisionError: division by zero"),
        (["import nowhere_at_all"], "x.py", "x.py:2: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        (["import nowhere_at_all"], "x:edge", "x.py:2: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        (["", "edge = = 1"], "x.py", "x.py:3: SyntaxError: invalid syntax"),
        (["raise SystemExit('two\\nlines')"], "x.py", "x.py:2: SystemExit: two lines"),
        (["te.SessionGate(rate=0)"], "x.py", "x.py:2: SessionGate(rate=0) must be a number above 0"),
        (
            ["import json", "json.loads('')"],
            "x.py",
            "x.py:3: JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
        ),
    ],
)
def test_a_target_with_a_fault_is_one_line(
    lines: list[str], target: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("x.py", *lines)
    assert main(["check", target]) == te.ExitCode.CONFIGURATION
    assert capsys.readouterr() == ("", f"trioedge: {message}\n")


def test_the_fault_of_a_sibling_names_the_sibling(capsys: pytest.CaptureFixture[str]) -> None:
    write("failing_sibling.py", "", "1 / 0")
    write("innocent.py", "import failing_sibling")
    assert main(["check", "innocent.py"]) == te.ExitCode.CONFIGURATION
    assert capsys.readouterr().err == "trioedge: failing_sibling.py:3: ZeroDivisionError: division by zero\n"


@pytest.mark.parametrize(
    ("call", "words"), [("te.run(edge)", "te.run(edge)"), ("import trio; trio.run(edge.serve)", "edge.serve()")]
)
def test_a_program_that_serves_at_import_is_refused_and_not_served(
    call: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = write("unguarded.py", f"edge = {MADE}", call)
    assert main(["check", target]) == 2
    said = f'trioedge: {target}:3: {words} is called at import: write it below if __name__ == "__main__":\n'
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("command", [["check", "x.py"], ["doctor"], ["--version"]])
@pytest.mark.parametrize(
    ("stdout", "code", "says"),
    [
        (">&-", None, ""),
        (">/dev/full", te.ExitCode.FAULT, "trioedge: the output cannot be written: No space left on device\n"),
    ],
    ids=["closed", "full"],
)
def test_a_stdout_that_takes_nothing_is_no_traceback(
    command: list[str], stdout: str, code: int | None, says: str
) -> None:
    write("x.py", f"edge = {MADE}")
    usual = subprocess.run([*COMMAND, *command], capture_output=True, check=False).returncode
    shell = ["sh", "-c", f'"$@" {stdout}', "sh", *COMMAND, *command]
    result = subprocess.run(shell, stderr=subprocess.PIPE, check=False)
    assert result.stderr.decode() == says
    assert result.returncode == (usual if code is None else code)
