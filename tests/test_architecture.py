"""The floors: imports point down only, siblings do not know each other, and the bottom cannot wait."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "trioedge"
MODULES = sorted(ROOT.rglob("*.py"))

FLOORS = {
    "core": 0,
    "runtime": 1,
    "stages": 2,
    "endpoints": 2,
    "outbounds": 2,
    "control": 2,
    "edge": 3,
    "process": 4,
    "__init__": 5,
    "cli": 6,
    "testing": 6,
    "__main__": 7,
}
"""Every part of the package, and how high it stands. A part imports itself and lower floors."""

CORE_MAY_IMPORT = {
    "attrs",
    "array", "bisect", "collections", "enum", "heapq", "inspect", "ipaddress", "itertools", "math", "operator", "re",
    "typing", "urllib",
}  # fmt: skip
"""What floor 0 is made of: nothing that could wait, look at a clock or touch the world."""

SOFT_LIMIT, HARD_LIMIT = 300, 500


def part_of(module: Path) -> str:
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(module: Path) -> Iterator[tuple[str, int]]:
    """Give the absolute names that a module imports, with line numbers; relative ones resolved."""
    package = ("trioedge", *module.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *((node.module or "").split(".") if node.module else ())))
            if node.module is None:
                yield from ((f"{name}.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield name, node.lineno


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(module: Path) -> None:
    part = part_of(module)
    for name, line in imports(module):
        if not name.startswith("trioedge"):
            continue
        other = [*name.split("."), "__init__"][1]
        assert other == part or FLOORS[other] < FLOORS[part], f"{module}:{line} imports {name}"
        assert other != "testing" or part == "testing", f"{module}:{line}: nothing imports trioedge.testing"


@pytest.mark.parametrize("module", [each for each in MODULES if FLOORS[part_of(each)] == 2])
def test_siblings_do_not_know_each_other(module: Path) -> None:
    for name, line in imports(module):
        parts = name.split(".")
        if parts[0] == "trioedge" and len(parts) > 1:
            assert parts[1] in ("core", "runtime"), f"{module}:{line} imports {name}"


@pytest.mark.parametrize("module", [each for each in MODULES if part_of(each) == "core"])
def test_the_core_can_neither_wait_nor_look(module: Path) -> None:
    for name, line in imports(module):
        top = name.partition(".")[0]
        assert top == "trioedge" or top in CORE_MAY_IMPORT, f"{module}:{line} imports {name}"
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            allowed = module.name in ("stage.py", "chain.py")  # they declare and compose what others await
            assert allowed, f"{module}:{node.lineno} is async"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print"), f"{module}:{node.lineno} calls {node.func.id}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_short(module: Path) -> None:
    lines = len(module.read_text().splitlines())
    assert lines <= HARD_LIMIT, f"{module} has {lines} lines; it is more than one idea"


def test_most_modules_are_shorter_than_the_soft_limit() -> None:
    long = [module for module in MODULES if len(module.read_text().splitlines()) > SOFT_LIMIT]
    assert len(long) * 20 <= len(MODULES), long


def test_every_module_of_the_lower_floors_has_a_test_file_of_its_name() -> None:
    tests = Path(__file__).parent
    for module in MODULES:
        place = module.relative_to(ROOT)
        if FLOORS[part_of(module)] <= 2 and module.name != "__init__.py":
            assert (tests / place.parent / f"test_{place.name}").exists(), f"tests/{place.parent}/test_{place.name}"


def test_the_top_level_holds_what_it_is_to_hold() -> None:
    allowed = {
        "pyproject.toml", "trioedge", "plugins", "examples", "tests", "docs", "mkdocs.yml", "README.md", "LICENSE",
        "Makefile", "site",
    }  # fmt: skip
    found = {path.name for path in ROOT.parent.iterdir() if not path.name.startswith(".")}
    assert found <= allowed, found - allowed
