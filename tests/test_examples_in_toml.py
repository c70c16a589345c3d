"""The examples that stand in both forms: each pair is the same edge."""

from pathlib import Path

import pytest

import trioedge as te
from trioedge.cli import main
from trioedge.cli.target import load

EXAMPLES = Path(__file__).parent.parent / "examples"
PAIRS = sorted(each.stem for each in EXAMPLES.glob("*.toml") if "[edge." in each.read_text())


def shown(edge: te.Edge) -> list[str]:
    """Say all that an edge is made of."""
    return [
        *edge.listen, *map(repr, edge.outline.parts), repr(edge.control),
        *(f"{name}: {each!r}" for name, each in edge.outbounds.items()),
    ]  # fmt: skip


def test_examples_stand_in_both_forms() -> None:
    assert {"redis_edge", "multi_tenant", "socks_edge", "via", "asgi_app"} <= set(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_the_file_makes_the_edge_of_the_program(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROXY", raising=False)
    assert main(["check", f"{EXAMPLES}/{name}.toml"]) == 0
    assert "edge: " in capsys.readouterr().out
    assert shown(load(f"{EXAMPLES}/{name}.toml")) == shown(load(f"{EXAMPLES}/{name}.py"))
