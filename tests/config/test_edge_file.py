from pathlib import Path

import pytest

import trioedge as te
from tests.support.edge_files import HEAD, faults, read, with_stage
from tests.support.packages import Packages, plugin
from trioedge.config.edge_file import MAX_BYTES, read_edge_file

TENANTS = """
[process]
log_format = "json"
log_level = "debug"

[edge.tenants]
listen = ["tcp://127.0.0.1:6380", "tcp://127.0.0.1:6381"]
drain_seconds = 30
max_sessions = 500
access_log = { to = "access.log", sample = 0.5 }
outbounds = ["tunnel"]

[edge.tenants.control]
use = "file"
path = "services.toml"

[edge.tenants.endpoint]
use = "forward"
allow = ["loopback"]

[[edge.tenants.stages]]
use = "identify"
by = { "tcp://127.0.0.1:6380" = "shop", "tcp://127.0.0.1:6381" = "blog" }

[[edge.tenants.stages]]
use = "idle-timeout"
seconds = 300

[edge.plain]
listen = "tcp://127.0.0.1:6400"
endpoint = { use = "forward", to = "tcp://127.0.0.1:1", outbound = "tunnel" }

[outbound.tunnel]
use = "via"
proxy = "socks5://127.0.0.1:1080"
"""


def test_a_file_makes_the_same_edges_as_python(tmp_path: Path) -> None:
    found = read(TENANTS, tmp_path)
    assert (found.process.log_format, found.process.log_level) == ("json", "debug")
    tenants, plain = found.edges["tenants"], found.edges["plain"]
    assert tenants.listen == ("tcp://127.0.0.1:6380", "tcp://127.0.0.1:6381")
    assert [repr(part) for part in tenants.outline.parts] == [
        "Identify({'tcp://127.0.0.1:6380': 'shop', 'tcp://127.0.0.1:6381': 'blog'})",
        repr(te.IdleTimeout(300)),
        repr(te.Forward(allow=["loopback"])),
    ]
    assert (tenants.name, tenants.drain_seconds, tenants.description.max_sessions) == ("tenants", 30, 500)
    assert repr(tenants.access_log) == repr(te.AccessLog(tmp_path / "access.log", sample=0.5))
    assert repr(tenants.control) == repr(te.FileControl(tmp_path / "services.toml"))
    (tunnel,) = tenants.outbounds.values()
    assert plain.outline.parts[-1].given()["outbound"] is tunnel  # type: ignore[attr-defined]  # one recipe for both


def test_one_edge_of_a_file_can_be_taken() -> None:
    assert list(read(TENANTS).only("plain").edges) == ["plain"]


@pytest.mark.parametrize(
    ("first", "second", "has"),
    [
        ("tcp://127.0.0.1:6380", "tcp://127.0.0.1:6380", "it"),
        ("tcp://127.0.0.1:6380", "tcp://0.0.0.0:6380", "tcp://127.0.0.1:6380"),
        ("tcp://[::]:6380", "tcp://127.0.0.1:6380", "tcp://[::]:6380"),
        ("unix:///run/edge.sock", "unix:///run/edge.sock", "it"),
        ("systemd:web", "systemd:web", "it"),
        ("systemd:web", "systemd:admin", ""),
        ("tcp://127.0.0.1:6380", "tcp://127.0.0.1:6381", ""),
        ("tcp://127.0.0.1:6380", "tcp://127.0.0.2:6380", ""),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0", ""),
    ],
)
def test_two_edges_of_a_file_cannot_have_one_listener(tmp_path: Path, first: str, second: str, has: str) -> None:
    endpoint = 'endpoint = { use = "forward", to = "tcp://127.0.0.1:1" }'
    path = tmp_path / "edge.toml"
    path.write_text(f"[edge.a]\nlisten = '{first}'\n{endpoint}\n[edge.b]\nlisten = '{second}'\n{endpoint}\n")
    if not has:
        assert list(read_edge_file(path).edges) == ["a", "b"]
        return
    with pytest.raises(te.ConfigurationError) as error:
        read_edge_file(path)
    assert str(error.value) == f"{path}:5: edge.b.listen = '{second}' is taken: edge.a has {has}"


def test_a_file_is_named_as_the_user_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("edge.toml").write_text("[edge.a]\n")
    with pytest.raises(te.ConfigurationError, match=r"^edge\.toml:1: edge\.a needs listen"):
        read_edge_file(Path("edge.toml"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff", "is no text of UTF-8, at byte 0"),
        (b"#" * (MAX_BYTES + 1), "has more than 16,777,216 bytes: put its long lists into files"),
        (b"[edge.a", "expected ']' at the end of a table declaration (at end of document)"),
        (b"[edge.a]\nb = 1 2", "edge.toml:2: expected newline or end of document after a statement (column 7)"),
        (b"[edge.a]\nstages = [{ use =\n'a' }]", "edge.toml:2: invalid value (column 18); an inline table"),
        (b"a = " + b"[" * 100_000, "its tables are nested too deeply"),
        (b"a" + b".a" * 100 + b" = 1", "its tables are nested too deeply"),
        (b"a = " + b"9" * 5_000, "it has a number of more than 4,000 digits"),
        (b"", "has no edge: write [edge.NAME]"),
        (b"edge = 3", "= 3 must be a table, as in [edge.NAME]"),
        (b"[edge]\na = 3", "edge.a = 3 must be a table"),
        (b"outbound = 3\n[edge.a]", "outbound = 3 must be a table, as in [outbound.NAME]"),
        (b"process = []\n[edge.a]", "process = [] must be a table, as in [process]"),
        (b"[services.a]", "services is no table of an edge.toml: services stand in a file of their own"),
        (b"[edges.a]", "edges is no table of an edge.toml: did you mean 'edge'?"),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "edge.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(te.ConfigurationError) as error:
        read_edge_file(path)
    assert says in str(error.value).splitlines()[0]
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("stages = 3", "5: edge.a.stages = 3 must be a list of tables"),
        ("stages = { use = 'tls' }", "5: edge.a.stages = { use = … } must be a list of tables"),
        ("control = 'x.toml'", "5: edge.a.control = 'x.toml' must be a table with use, as in { use = 'file' }"),
        ("outbounds = 'x'", "5: edge.a.outbounds = 'x' must be a list of names, each of an [outbound.NAME]"),
        ("outbounds = [3]", "5: edge.a.outbounds = [3] must be a list of names, each of an [outbound.NAME]"),
        ("drain_second = 3", "5: edge.a.drain_second is no key of Edge: did you mean 'drain_seconds'?"),
        ("drain_seconds = -1", "5: edge.a.drain_seconds: Edge(drain_seconds=-1) must be a number of at least 0"),
        ("access_log = { sampel = 3 }", "5: edge.a.access_log.sampel is no key of AccessLog: did you mean 'sample'?"),
        ("admin = 'tcp://127.0.0.1:1'", "5: edge.a.admin: admin='tcp://127.0.0.1:1': Admin("),
    ],
)  # fmt: skip
def test_a_fault_of_an_edge_is_at_its_key(line: str, fault: str) -> None:
    text = f'{HEAD}# a comment\nendpoint = {{ use = "forward", to = "tcp://127.0.0.1:1" }}\n{line}\n'
    assert faults(text)[0].startswith(fault)


def test_a_fault_between_stages_names_both() -> None:
    (fault,) = faults(with_stage('{ use = "device-limit" }'))
    assert fault.startswith("1: edge.a: stage 1 (DeviceLimit)")


def test_faults_of_all_edges_and_outbounds_are_named_at_once() -> None:
    text = TENANTS.replace("sample = 0.5", "sample = 5").replace('"socks5:', '"sock:').replace("= 300", "= '300'")
    found = faults(text)
    assert [each.split(" ")[1] for each in found] == [
        "edge.tenants.access_log.sample:", "edge.tenants.stages[1].seconds", "outbound.tunnel:"
    ]  # fmt: skip


def test_a_plugins_mistake_costs_its_own_edge(packages: Packages) -> None:
    code = "class Bad:\n    def __init__(self): raise ZeroDivisionError('oops')\n    def decide(self, s): ...\n"
    packages.add("trioedge-bad", entry_points=plugin("stages", "bad", "trioedge_bad:Bad"), trioedge_bad=code)
    packages.add("trioedge-gone", entry_points=plugin("stages", "gone", "trioedge_gone:Gone"))
    good = '[edge.b]\nlisten = "tcp://127.0.0.1:0"\nendpoint = { use = "forward", to = "tcp://127.0.0.1:1" }\n'
    for use, says in (("bad", "Bad failed: ZeroDivisionError('oops')"), ("gone", "trioedge-gone 0.1.0")):
        found = read(with_stage(f'{{ use = "{use}" }}', good))
        assert list(found.edges) == ["b"]
        assert list(found.broken) == ["a"]
        assert found.broken["a"].startswith("edge.toml:3: edge.a.stages[0]")
        assert says in found.broken["a"]


def test_a_mistake_of_an_outbound_costs_its_edge_and_is_a_fault_where_no_edge_has_it(packages: Packages) -> None:
    packages.add("trioedge-gone", entry_points=plugin("outbounds", "gone", "trioedge_gone:Gone"))
    out = '\n[outbound.out]\nuse = "gone"\n'
    edge = '[edge.{}]\nlisten = "tcp://127.0.0.1:0"\nendpoint = {{ use = "forward", to = "tcp://127.0.0.1:1"{} }}\n'
    found = read(edge.format("a", ', outbound = "out"') + edge.format("b", "") + out)
    assert list(found.edges) == ["b"]
    assert "outbound.out.use: trioedge-gone 0.1.0" in found.broken["a"]
    (fault,) = faults(edge.format("b", "") + out)
    assert fault.startswith("6: outbound.out.use: trioedge-gone 0.1.0")
