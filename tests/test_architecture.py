"""The rules of the house: what each folder may import, what may wait, and how long a file may be.

`docs/explanation/architecture.md` explains them. Every failure says how to mend it.
"""

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent / "trioedge"
TESTS = ROOT.parent / "tests"
MODULES = sorted(ROOT.rglob("*.py"))

RANK = {
    "errors": 0,
    "arguments": 1, "regular_file": 1, "annotations": 2, "secrets": 2,
    "addresses": 2, "structures": 2,
    "session": 3, "wire": 3,
    "telemetry": 4,
    "loop": 5,
    "relay": 6, "services": 6,
    "stages": 7, "upstreams": 7, "control": 7, "observers": 7,
    "endpoints": 8, "serving": 8,
    "admin": 9, "edge_face": 9,
    "edge": 10,
    "plugins": 11, "workers": 11,
    "config": 12,
    "process": 13, "testing": 13,
    "__init__": 14,
    "cli": 15,
    "__main__": 16,
}  # fmt: skip
"""A folder or top module imports itself and lower ranks."""

PURE = {"errors", "arguments", "annotations", "structures", "addresses", "session", "wire"}
"""Folders in which nothing may wait."""

WAITS = {
    "services": {
        "apply", "applying.effects", "applying.following", "context", "linking.edge_link", "passwords", "terms.keeper",
    },
    "stages": {
        "devices.checks", "devices.device_limit", "devices.live_device_limit", "devices.news", "devices.pool",
        "handshakes.tls", "handshakes.tls_certificates", "pacing.pacing", "pacing.pacer", "pacing.fq",
    },
    "control": {
        "arrivals", "child_process", "file", "http", "http_client", "memory", "renewal", "reporter", "snapshot_lines",
        "supervisor", "toml_lines", "watched_file",
    },
    "upstreams": {
        "address_filter", "attempt", "balancing.check", "balancing.live_balanced", "balancing.seat", "by_policy",
        "connector", "direct", "hosts_file", "introduction", "name_servers", "outbound", "own_listeners", "pool.idle",
        "pool.pool", "pool.renewal", "resolver", "tls.tls_attempt", "tls.tls_connector", "upstream", "ways.live_via",
        "ways.named", "ways.proxy_chain", "ways.via",
    },
    "observers": {"observing", "worker"},
    "telemetry": {"access_log", "level", "line_writer", "log", "rendering"},
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


FACES = {
    "stages.devices": {"device_limit"},
    "stages.pacing": {"pacing", "fq"},
    "endpoints.asgi": {"asgi", "hypercorn_protocols", "messages", "own_server"},
}
"""What other folders may import of a slice."""

ONE_PLACE = {
    "httpx": {"control.http_client"},
    "netaddr": {"addresses.prefixes"},
    "hypercorn": {"endpoints.asgi.hypercorn_protocols"},
    "pyroute2": {"stages.pacing.fq"},
    "dns": {"upstreams.name_servers"},
    "python_socks": {"upstreams.ways.proxy_chain"},
    "h11": {"cli.client.client", "cli.client.round_trip"},
    "cyclopts": {"cli"},
    "rich": {"cli"},
}
"""The one module, or folder, that knows a third-party library."""

MAX_MODULE_LINES, MAX_CLASS_LINES, MAX_MODULES = 350, 220, 18


def test_imports_go_down() -> None:
    rows = [
        f"{name_of(module)}:{line} imports {other}"
        for module in MODULES
        for other, line in own_imports(module)
        if top_of(other) != top_of(name_of(module)) and RANK[top_of(other)] >= RANK[top_of(name_of(module))]
    ]
    report("a folder imports only folders of a lower rank", rows, "move what is shared to the lower folder of the two")


def test_pure_modules_cannot_wait() -> None:
    rows = []
    for module in MODULES:
        name = name_of(module)
        if may_wait(name) or module.name == "__init__.py":
            continue
        for other, line in imports(module):
            if top_of(other) in WORLD:
                rows.append(f"{name}:{line} imports {other}")
        for other, line in own_imports(module):
            if may_wait(other) and (ROOT / f"{other.replace('.', '/')}.py").exists():
                rows.append(f"{name}:{line} imports {other}, which may wait")
    report("a pure module has no way to wait", rows, "take time and bytes as arguments, or list the module in WAITS")


MAY_DECLARE_ASYNC = {"session.stage", "session.chain", "session.fields"}
"""Protocols of what others await, and the chain that composes it."""


def test_the_grammar_and_the_structures_have_nothing_to_await() -> None:
    rows = [
        f"{name_of(module)}:{node.lineno} is async"
        for module in MODULES
        if top_of(name_of(module)) in PURE and name_of(module) not in MAY_DECLARE_ASYNC
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.AsyncFunctionDef | ast.Await)
    ]
    report("pure folders have no async def", rows, "make it a plain function, or move it to a folder that waits")


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


SCRIPTS = {"stages.handshakes.hello"}
"""Conversations that several stages have, and that are no stage themselves."""


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
            if stranger and other not in SCRIPTS:
                rows.append(f"{name}:{line} imports {other}")
    report("stages know no stage, endpoints no stage, relays no service", rows, "pass what is needed as an argument")


def test_one_module_knows_each_library() -> None:
    rows = [
        f"{name_of(module)}:{line} imports {other}"
        for module in MODULES
        for other, line in imports(module)
        if top_of(other) in ONE_PLACE
        if not {name_of(module), top_of(name_of(module))} & ONE_PLACE[top_of(other)]
    ]
    report("one module for each third-party library", rows, f"go through {ONE_PLACE}")


def test_one_thing_has_one_name() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name_of(module))
    rows = [f"{name}: {', '.join(where)}" for name, where in homes.items() if len(where) > 1]
    report("no public class name stands twice", rows, "name one of them for what it is there")


STAGE_MEMBERS = {
    "decide", "handle", "open", "run", "close", "kind", "requires", "provides", "enforces", "rechecks", "once",
    "policy", "needs_relay", "relays", "taskless", "needs_control", "listeners", "descriptors", "begin",
    "needs_destination", "follows_destination", "ignores_destination",
}  # fmt: skip


def test_what_a_stage_may_have_stands_in_its_protocols() -> None:
    rows = []
    for module in MODULES:
        if name_of(module) == "session.kinds":
            continue
        for node in ast.walk(ast.parse(module.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("getattr", "hasattr")
            ):
                name = node.args[1] if len(node.args) > 1 else None
                if isinstance(name, ast.Constant) and name.value in STAGE_MEMBERS:
                    rows.append(f"{name_of(module)}:{node.lineno} looks for {name.value!r}")
    report("members of stages are read in session/kinds.py only", rows, "ask Facts, or isinstance of a Protocol")


BANNED = re.compile(
    r"\b(nobody|somebody|anybody|everybody|whoever|whom)\b|, for (it|they|there)\b|(^|[.:;]) *what (is|was|it)\b",
    re.IGNORECASE,
)


def prose(module: Path) -> Iterator[tuple[int, str]]:
    """Give a module's comments and docstrings, with line numbers."""
    text = module.read_text()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for each in body if isinstance(body, list) else ():
            if (
                isinstance(each, ast.Expr)
                and isinstance(each.value, ast.Constant)
                and isinstance(each.value.value, str)
            ):
                yield from enumerate(each.value.value.splitlines(), each.lineno)


def test_sentences_have_nouns_for_their_actors() -> None:
    rows = [
        f"{module.relative_to(ROOT.parent)}:{line} says {found[0]!r}"
        for module in [*MODULES, *TESTS.rglob("*.py")]
        for line, text in prose(module)
        for found in BANNED.finditer(text)
    ]
    report("no indefinite persons", rows, "name the actor: the client, the caller, a worker; write because, not for")


def test_modules_and_classes_are_short() -> None:
    rows = []
    for module in MODULES:
        name, text = name_of(module), module.read_text()
        lines = len(text.splitlines())
        if lines > MAX_MODULE_LINES:
            rows.append(f"{name} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_CLASS_LINES:
                    rows.append(f"{name}.{node.name} has {lines} lines")
    report(f"modules to {MAX_MODULE_LINES} lines, classes to {MAX_CLASS_LINES}", rows, "it is more than one idea")


def test_a_folder_can_be_read_at_a_glance() -> None:
    found = Counter(module.parent for module in MODULES)
    rows = [f"{folder.relative_to(ROOT.parent)} has {count}" for folder, count in found.items() if count > MAX_MODULES]
    report(f"folders to {MAX_MODULES} modules", rows, "give a part of it a folder of its own")


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


def test_tests_borrow_no_helper_from_a_test_and_are_short() -> None:
    rows = []
    for module in sorted(TESTS.rglob("*.py")):
        name, text = module.relative_to(ROOT.parent), module.read_text()
        if "bench" not in module.parts and len(text.splitlines()) > 500:
            rows.append(f"{name} has {len(text.splitlines())} lines, and may have 500")
        rows += [
            f"{name}:{node.lineno} imports {node.module}"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2].startswith("test_")
        ]
    report("a test file stands for itself", rows, "move shared helpers to tests/support/, split long files by subject")


TESTED_ELSEWHERE = {
    "edge_face": "test_edge.py",  # the base of Edge
    "process.parent.inheritance": "process/child/test_worker.py",  # facts, without a method
    "__main__": "cli/test_run.py",  # one call, made as a process
    "cli.__init__": "cli/test_target.py",  # the commands together, and the errors of all of them
}
"""Modules without a test file of their name, and the file that tests them.

An ``__init__.py`` that defines no function and no class needs none, because `test_exports.py` checks what it exports.
"""


def defines(module: Path) -> bool:
    """Tell whether a module defines a function or a class."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return any(isinstance(node, kinds) for node in ast.walk(ast.parse(module.read_text())))


def test_every_module_has_a_test_file_of_its_name() -> None:
    rows = []
    for module in MODULES:
        place = module.relative_to(ROOT)
        test = TESTS / place.parent / f"test_{place.name}"
        needed = module.name != "__init__.py" or defines(module)
        if needed and name_of(module) not in TESTED_ELSEWHERE and not test.exists():
            rows.append(str(test.relative_to(ROOT.parent)))
    rows += [
        f"{name} is excepted, but {where} is missing"
        for name, where in TESTED_ELSEWHERE.items()
        if not (ROOT / f"{name.replace('.', '/')}.py").exists() or not (TESTS / where).exists()
    ]
    report("a module and its test have the same place and name", rows, "write that file")


def test_the_top_level_holds_what_it_is_to_hold() -> None:
    allowed = {
        "pyproject.toml", "trioedge", "plugins", "examples", "tests", "docs", "mkdocs.yml", "README.md", "LICENSE",
        "Makefile", "site",
    }  # fmt: skip
    found = {path.name for path in ROOT.parent.iterdir() if not path.name.startswith(".")}
    assert found <= allowed, found - allowed
