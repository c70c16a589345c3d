"""The rules of the house: what each folder may import, what may wait, and how long a file may be.

`docs/explanation/architecture.md` explains them. Every failure says how to mend it.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent / "trioedge"
TESTS = ROOT.parent / "tests"
MODULES = sorted(ROOT.rglob("*.py"))

RANK = {
    "errors": 0, "arguments": 1, "structures": 1,
    "addresses": 2, "session": 2,
    "telemetry": 3,
    "loop": 4,
    "relay": 5, "services": 5,
    "stages": 6, "upstreams": 6, "control": 6,
    "endpoints": 7, "serving": 7,
    "admin": 8,
    "edge": 9,
    "process": 10, "testing": 10,
    "__init__": 11,
    "cli": 12,
    "__main__": 13,
}  # fmt: skip
"""A folder or top module imports itself and lower ranks."""

PURE = {"errors", "arguments", "structures", "addresses", "session"}
"""Folders in which nothing may wait."""

WAITS = {
    "services": {"apply", "context", "control_plane", "passwords"},
    "stages": {"devices.device_limit", "devices.checks", "pacing.pacing", "pacing.pacer", "pacing.fq"},
    "control": {
        "child_process", "file", "http", "http_client", "memory", "reporter", "snapshot_lines", "supervisor",
        "toml_lines", "watched_file",
    },
    "upstreams": {
        "address_filter", "by_policy", "connector", "direct", "hosts_file", "name_servers", "pool", "resolver",
        "upstream",
    },
    "telemetry": {"observer"},
}  # fmt: skip
"""Modules of the mixed folders that may wait; every other module there is pure."""

WORLD = {
    "gc", "httpx", "hypercorn", "os", "pathlib", "pyroute2", "random", "resource", "select", "signal", "socket", "ssl",
    "structlog", "subprocess", "threading", "time", "trio", "trio_util",
}  # fmt: skip
"""What a pure module never imports: waiting, sockets, clocks, files."""


def name_of(module: Path) -> str:
    """Give the dotted name below the package: ``stages.devices.table``."""
    return ".".join(module.relative_to(ROOT).with_suffix("").parts)


def top_of(name: str) -> str:
    return name.partition(".")[0]


def imports(module: Path) -> Iterator[tuple[str, int]]:
    """Give what a module imports at run time, as absolute dotted names, with line numbers."""
    package = ["trioedge", *module.relative_to(ROOT).parts[:-1]]
    tree = ast.parse(module.read_text())
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            if node.module is None:
                yield from ((f"{name}.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield name, node.lineno


def own_imports(module: Path) -> Iterator[tuple[str, int]]:
    """Give the modules of the package itself that a module imports, below the package."""
    for name, line in imports(module):
        if name == "trioedge" or name.startswith("trioedge."):
            yield name.removeprefix("trioedge").lstrip(".") or "__init__", line


def may_wait(name: str) -> bool:
    top, _, rest = name.partition(".")
    return top not in PURE and (top not in WAITS or rest in WAITS[top])


def report(rule: str, rows: list[str], mend: str) -> None:
    assert not rows, "\n".join([f"{rule}:", *(f"  {row}" for row in rows), f"To mend it: {mend}"])


FACES = {"stages.devices": {"device_limit"}, "stages.pacing": {"pacing", "fq"}}
"""What other folders may import of a slice."""

ONE_PLACE = {
    "httpx": {"control.http_client"},
    "hypercorn": {"admin.api"},
    "pyroute2": {"stages.pacing.fq"},
    "dns": {"upstreams.name_servers"},
    "cattrs": {"control.settings"},
    "cyclopts": {"cli"},
    "rich": {"cli"},
}
"""The one module, or folder, that knows a third-party library."""

MAX_MODULE_LINES, MAX_CLASS_LINES = 350, 220

LONGER_FOR_NOW: dict[str, int] = {
    "relay.socket_relay": 450, "edge": 400, "edge.Edge": 345, "stages.devices.device_limit.DeviceLimit": 245,
    "stages.devices.table.DeviceTable": 260,
}  # fmt: skip

UPWARD_FOR_NOW = {
    "services.context imports upstreams.connector", "services.context imports upstreams.resolver",
}  # fmt: skip

NAMED_TWICE_FOR_NOW: set[str] = set()

WAITING_FOR_NOW = {"stages.concurrency_limit", "stages.identify", "stages.session_gate", "stages.source_match"}

ELSEWHERE_FOR_NOW = {"cli.diff imports httpx"}


def test_imports_go_down() -> None:
    rows = [
        f"{name_of(module)}:{line} imports {other}"
        for module in MODULES
        for other, line in own_imports(module)
        if top_of(other) != top_of(name_of(module)) and RANK[top_of(other)] >= RANK[top_of(name_of(module))]
        if f"{name_of(module)} imports {other}" not in UPWARD_FOR_NOW
    ]
    report("a folder imports only folders of a lower rank", rows, "move what is shared to the lower folder of the two")


def test_pure_modules_cannot_wait() -> None:
    rows = []
    for module in MODULES:
        name = name_of(module)
        if may_wait(name) or module.name == "__init__.py" or name in WAITING_FOR_NOW:
            continue
        for other, line in imports(module):
            if top_of(other) in WORLD:
                rows.append(f"{name}:{line} imports {other}")
        for other, line in own_imports(module):
            if may_wait(other) and (ROOT / f"{other.replace('.', '/')}.py").exists():
                rows.append(f"{name}:{line} imports {other}, which may wait")
    report("a pure module has no way to wait", rows, "take time and bytes as arguments, or list the module in WAITS")


def test_a_slice_is_imported_by_its_face() -> None:
    rows = [
        f"{name_of(module)}:{line} imports {other}"
        for module in MODULES
        for other, line in own_imports(module)
        for folder, face in FACES.items()
        if other.startswith(f"{folder}.") and not name_of(module).startswith(folder)
        if other.removeprefix(f"{folder}.") not in face and module.name != "__init__.py"
    ]
    report("a slice has a face", rows, f"import {FACES}")


def test_stages_endpoints_and_relays_do_not_know_each_other() -> None:
    rows = []
    for module in MODULES:
        name = name_of(module)
        slice_of = ".".join(name.split(".")[:2])
        for other, line in own_imports(module):
            stranger = (
                (top_of(name) == "stages" and top_of(other) == "stages" and not other.startswith(slice_of))
                or (top_of(name) == "endpoints" and top_of(other) == "stages")
                or (top_of(name) == "relay" and top_of(other) in ("services", "stages", "upstreams"))
            )
            if stranger:
                rows.append(f"{name}:{line} imports {other}")
    report("stages know no stage, endpoints no stage, relays no service", rows, "pass what is needed as an argument")


def test_one_module_knows_each_library() -> None:
    rows = [
        f"{name_of(module)}:{line} imports {other}"
        for module in MODULES
        for other, line in imports(module)
        if top_of(other) in ONE_PLACE
        if not {name_of(module), top_of(name_of(module))} & ONE_PLACE[top_of(other)]
        if f"{name_of(module)} imports {top_of(other)}" not in ELSEWHERE_FOR_NOW
    ]
    report("one module for each third-party library", rows, f"go through {ONE_PLACE}")


def test_one_thing_has_one_name() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name_of(module))
    rows = [f"{name}: {', '.join(where)}" for name, where in homes.items() if len(where) > 1]
    rows = [row for row in rows if row.partition(":")[0] not in NAMED_TWICE_FOR_NOW]
    report("no public class name stands twice", rows, "name one of them for what it is there")


def test_modules_and_classes_are_short() -> None:
    rows = []
    for module in MODULES:
        name, text = name_of(module), module.read_text()
        lines = len(text.splitlines())
        if lines > LONGER_FOR_NOW.get(name, MAX_MODULE_LINES):
            rows.append(f"{name} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGER_FOR_NOW.get(f"{name}.{node.name}", MAX_CLASS_LINES):
                    rows.append(f"{name}.{node.name} has {lines} lines")
    report(f"modules to {MAX_MODULE_LINES} lines, classes to {MAX_CLASS_LINES}", rows, "it is more than one idea")


def test_private_names_stay_in_their_module() -> None:
    rows = []
    for module in [*MODULES, *TESTS.rglob("*.py")]:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom) and (
                node.level or (node.module or "").startswith(("trioedge", "tests"))
            ):
                rows += [
                    f"{module.relative_to(ROOT.parent)}:{node.lineno} imports {alias.name}"
                    for alias in node.names
                    if alias.name.startswith("_")
                ]
    report("no private name across modules", rows, "give it a public name, or move its user beside it")


def test_every_module_has_a_test_file_of_its_name() -> None:
    rows = []
    for module in MODULES:
        place = module.relative_to(ROOT)
        if RANK[top_of(name_of(module))] <= 7 and module.name != "__init__.py":
            test = TESTS / place.parent / f"test_{place.name}"
            if not test.exists():
                rows.append(str(test.relative_to(ROOT.parent)))
    report("a module and its test have the same place and name", rows, "write that file")


def test_the_top_level_holds_what_it_is_to_hold() -> None:
    allowed = {
        "pyproject.toml", "trioedge", "plugins", "examples", "tests", "docs", "mkdocs.yml", "README.md", "LICENSE",
        "Makefile", "site",
    }  # fmt: skip
    found = {path.name for path in ROOT.parent.iterdir() if not path.name.startswith(".")}
    assert found <= allowed, found - allowed
