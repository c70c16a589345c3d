"""The package as it is installed: its entry point, its files, and an import that does nothing."""

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import trioedge_uniproxy

HERE = Path(__file__).parents[1]


def test_the_entry_point_loads_the_class() -> None:
    (found,) = entry_points(group="trioedge.controls", name="uniproxy")
    assert found.load() is trioedge_uniproxy.UniProxyControl


def test_the_import_brings_neither_httpx_nor_a_thread() -> None:
    code = (
        "import sys, threading, trioedge_uniproxy\n"
        "assert 'httpx' not in sys.modules, 'httpx'\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_key_of_the_file_is_an_argument_of_the_class() -> None:
    import inspect

    table = tomllib.loads((HERE / "edge.toml").read_text())["edge"]["node"]["control"]
    assert table.pop("use") == "uniproxy"
    assert set(table) <= set(inspect.signature(trioedge_uniproxy.UniProxyControl).parameters)


def test_every_argument_is_explained() -> None:
    import inspect

    words = inspect.getdoc(trioedge_uniproxy.UniProxyControl.__init__) or ""
    for name in inspect.signature(trioedge_uniproxy.UniProxyControl).parameters:
        assert f"\n    {name}: " in words, name


def test_the_example_describes_an_edge() -> None:
    names: dict[str, object] = {"__name__": "example"}
    exec((HERE / "example.py").read_text(), names)
    assert repr(names["edge"].control).startswith("UniProxyControl(")  # type: ignore[attr-defined]


def test_the_page_and_the_example_show_the_same_edge() -> None:
    blocks = (HERE / "README.md").read_text()
    assert "UniProxyControl(" in blocks
    assert (HERE / "trioedge_uniproxy/py.typed").exists()
