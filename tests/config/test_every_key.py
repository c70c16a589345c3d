"""Every key of every part that ships, of an edge and of a process: each wrong value is one line at its place.

The keys come from the code, so a part that is new is tried as well.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.edge_files import faults, read
from tests.support.tls import make_certificate
from trioedge.config.edge_file import LISTS, PARTS
from trioedge.config.keys import Key, keys_of
from trioedge.config.process_table import ProcessTable
from trioedge.edge import Edge
from trioedge.plugins import BUILT_IN, Kind, find
from trioedge.testing.wrong_values import wrong_values

NEEDED: dict[str, dict[str, Any]] = {
    "idle-timeout": {"seconds": 5},
    "proxy-protocol": {"trusted": ["127.0.0.1"]},
    "tls": {"certificates": [["chain.pem", "key.pem"]]},
    "sni-route": {"routes": {"a.example": "tcp://127.0.0.1:1"}},
    "detect": {"protocols": {"http": "tcp://127.0.0.1:1"}, "default": "tcp://127.0.0.1:1"},
    "source-match": {"accept": ["127.0.0.0/8"]},
    "destination-match": {"accept": ["*:443"]},
    "device-limit": {"devices": 3},
    "concurrency-limit": {"sessions": 3},
    "session-gate": {"rate": 5},
    "pacing": {"down_rate": 1_000_000},
    "asgi": {"app": "tests.support.applications:hello"},
    "via": {"proxy": "socks5://127.0.0.1:1080"},
    "balanced": {"members": ["tcp://127.0.0.1:1"]},
    "file": {"path": "services.toml"},
    "http": {"url": "https://control.example"},
}
"""Arguments that a part needs, so that a fault is that of the key which is tried."""

WRONG_TYPE = "it has a wrong type"

PASSED_ON = {"by", "url", "ca", "server_name", "tls", "listen"}
"""Keys whose texts or tables of any kind may be right; their own checks are tested with their parts."""


def edge(**tables: Any) -> dict[str, Any]:
    """Return the table of an edge; one with a part that leads sessions somewhere has no address at its end."""
    routed = any(
        each["use"] in ("sni-route", "detect", "destination-match", "socks", "http-connect")
        for each in tables.get("stages", ())
    )
    endpoint = {"use": "forward"} if routed else {"use": "forward", "to": "tcp://127.0.0.1:1"}
    return {"listen": "tcp://127.0.0.1:0", "endpoint": endpoint, **tables}


def around(kind: Kind, part: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a document with this part, and the path of the part."""
    match kind:
        case Kind.STAGE:
            before = [{"use": "socks"}] if part["use"] == "destination-match" else []
            stages = [*before, part]
            return {"edge": {"a": edge(stages=stages)}}, f"edge.a.stages[{len(before)}]"
        case Kind.ENDPOINT:
            endpoint = {"to": "tcp://127.0.0.1:1", **part} if part["use"] == "forward" else part
            return {"edge": {"a": edge() | {"endpoint": endpoint}}}, "edge.a.endpoint"
        case Kind.CONTROL:
            return {"edge": {"a": edge(control=part)}}, "edge.a.control"
    return {"edge": {"a": edge()}, "outbound": {"out": part}}, "outbound.out"


def written(document: dict[str, Any]) -> str:
    return "\n".join(f"{key} = {inline(each)}" for key, each in document.items())


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {inline(each)}" for key, each in value.items()) + " }"
    return "[" + ", ".join(map(inline, value)) + "]" if isinstance(value, list) else json.dumps(value)


def keys(maker: Any) -> list[Key]:
    return [key for key in keys_of(maker).values() if key.name not in (*PARTS, *LISTS, "outbounds")]


def parts() -> Iterator[tuple[Kind, str]]:
    for kind in Kind:
        for name in BUILT_IN[kind]:
            yield kind, name


ALL = list(parts())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    chain, key = make_certificate(folder, "a.example")
    chain.rename(folder / "chain.pem")
    key.rename(folder / "key.pem")
    (folder / "services.toml").write_text("")
    return folder


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_part_with_what_it_needs_is_good(kind: Kind, name: str, folder: Path) -> None:
    document, _ = around(kind, {"use": name, **NEEDED.get(name, {})})
    assert read(written(document), folder).edges


def tried(document: dict[str, Any], path: str, folder: Path, value: Any, why: str) -> None:
    """Read a document with one wrong value, which must be one fault at its path."""
    found = faults(written(document), folder)
    assert len(found) == 1, (why, value, found)
    where = found[0].partition(": ")[2]
    assert re.match(rf"{re.escape(path)}(?=[\s:.\[])", where), (why, value, where)
    assert len(where) < 600


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_each_wrong_value_of_each_key_is_one_line_at_its_path(kind: Kind, name: str, folder: Path) -> None:
    for key in keys(find(kind, name)):
        if key.shape is None:
            values: Any = [(3, "Python only")]
        else:
            values = [
                each for each in wrong_values(key) if key.name not in PASSED_ON or each[1] == "it has a wrong type"
            ]
        for value, why in values:
            document, path = around(kind, {"use": name, **NEEDED.get(name, {}), key.name: value})
            tried(document, f"{path}.{key.name}", folder, value, f"{name}.{key.name}: {why}")


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_missing_key_and_an_unknown_one_are_one_line_each(kind: Kind, name: str, folder: Path) -> None:
    needed = NEEDED.get(name, {})
    for key in keys(find(kind, name)):
        if key.required:
            document, path = around(kind, {"use": name, **{each: needed[each] for each in needed if each != key.name}})
            (fault,) = faults(written(document), folder)
            assert f": {path} needs {key.name}" in f": {fault.partition(': ')[2]}"
    document, path = around(kind, {"use": name, **needed, "no_such_key": 3})
    tried(document, f"{path}.no_such_key", folder, 3, "unknown")


def test_each_wrong_value_of_each_key_of_an_edge_is_one_line(folder: Path) -> None:
    for key in keys(Edge):
        for value, why in wrong_values(key):
            if key.name not in PASSED_ON or why == WRONG_TYPE:
                document = {"edge": {"a": edge() | {key.name: value}}}
                tried(document, f"edge.a.{key.name}", folder, value, f"{key.name}: {why}")
    for name in (*PARTS, *LISTS, "outbounds"):
        for value in (3, True, "text", {"no": "use"}):
            found = faults(written({"edge": {"a": edge() | {name: value}}}), folder)
            assert len(found) == 1, (name, value, found)
            assert f"edge.a.{name}" in found[0]


def test_each_wrong_value_of_each_key_of_the_process_is_one_line(folder: Path) -> None:
    for key in keys(ProcessTable):
        for value, why in wrong_values(key):
            document = {"edge": {"a": edge()}, "process": {key.name: value}}
            tried(document, f"process.{key.name}", folder, value, why)
