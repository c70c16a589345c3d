from pathlib import Path

import pytest

import trioedge as te
from tests.support.edge_files import HEAD, read
from tests.support.packages import Packages, plugin
from trioedge.config.to_toml import toml_of
from trioedge.errors import EdgeFileError

TO = te.Forward("tcp://127.0.0.1:1")
BALANCED = te.Balanced(["tcp://127.0.0.1:1", te.Member("tcp://127.0.0.1:2", weight=2.0, backup=True)], tries=2)


def edge(*stages: object, endpoint: object = TO, **changes: object) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", list(stages), endpoint, **changes)  # type: ignore[arg-type]


def faults(given: te.Edge) -> tuple[str, ...]:
    with pytest.raises(EdgeFileError) as error:
        toml_of(given)
    return error.value.faults


@pytest.mark.parametrize(
    "given",
    [
        edge(),
        te.Edge(["tcp://127.0.0.1:0", "unix:///run/a b.sock"], [], TO, name="x y", source_prefix=(24, 56)),
        edge(te.SourceMatch(accept=["127.0.0.0/8"], of="peer"), te.SessionGate(20, 5), te.IdleTimeout(float("inf"))),
        edge(te.DeviceLimit(3, handover="hold", grace=te.Grace(seconds=2, devices=3)), te.Pacing("10 MB/s")),
        edge(te.SniRoute({"*.a.example": "tcp://127.0.0.1:1"}), endpoint=te.Forward(allow=["loopback"])),
        edge(te.Detect({b"S\"S'H\n": "tcp://127.0.0.1:1", "socks": [te.Socks()]}), endpoint=te.Forward()),
        edge(endpoint=te.Forward(BALANCED, outbound=te.Direct(proxy_protocol="v2"))),
        edge(endpoint=te.Forward("tcp://a:1", outbound=te.Via("socks5://a:1", "http://b:2", remote_names=True))),
        edge(te.Identify("shop"), control=te.FileControl("/etc/services.toml"), endpoint=te.Forward(),
             outbounds={"one": te.Direct(tls=True), "two": BALANCED}),
        te.Edge([], [], te.Forward(), control=te.FileControl("/etc/services.toml"),
                open_ports=["tcp://0.0.0.0:20000-29999", "tcp://[::1]:80"]),
        edge(access_log=te.AccessLog("-", only="refused"), max_sessions=3, drain_seconds=2.5, admin="unix:///a.sock"),
    ],
)  # fmt: skip
def test_an_edge_and_its_file_are_the_same(given: te.Edge) -> None:
    text = toml_of(given)
    (made,) = read(text).edges.values()
    assert list(map(repr, made.outline.parts)) == list(map(repr, given.outline.parts))
    assert (made.listen, repr(made.control), repr(made.access_log)) == (
        given.listen, repr(given.control), repr(given.access_log)
    )  # fmt: skip
    assert {name: repr(each) for name, each in made.outbounds.items()} == {
        name: repr(each) for name, each in given.outbounds.items()
    }
    for field in ("max_sessions", "drain_seconds", "admin", "source_prefix", "open_ports"):
        assert getattr(made.description, field) == getattr(given.description, field)
    assert toml_of(made) == text


COUNTS = """
class Counts:
    '''Count sessions.

    Args:
        start: the first number.
    '''

    def __init__(self, start: int = 0) -> None:
        self.start = start

    def __repr__(self) -> str:
        return f"Counts({self.start})"

    async def observe(self, batch): ...
"""


def test_the_observers_are_written_as_the_other_parts(packages: Packages) -> None:
    packages.add("trioedge-counts", entry_points=plugin("observers", "counts", "counts:Counts"), counts=COUNTS)
    (first,) = read(
        f'{HEAD}endpoint = {{ use = "forward", to = "tcp://127.0.0.1:1" }}\n'
        'observers = [{ use = "counts" }, { use = "counts", start = 3 }]'
    ).edges.values()
    text = toml_of(first)
    assert text.endswith('observers = [\n  { use = "counts" },\n  { use = "counts", start = 3 },\n]\n')
    (again,) = read(text).edges.values()
    assert list(map(repr, again.description.observers)) == ["Counts(0)", "Counts(3)"]


def test_an_observer_that_no_file_can_name_is_a_fault() -> None:
    class Mine:
        async def observe(self, batch: te.Batch) -> None: ...

        def __repr__(self) -> str:
            return "Mine()"

    assert faults(edge(observers=[Mine()])) == (
        "observers[0] is Mine(), which no file can name: publish it as a plugin, or keep Python",
    )


def test_a_secret_is_written_as_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("abcdef")
    monkeypatch.setenv("PROXY", "socks5://user:password@127.0.0.1:1")
    out = te.Via(te.Secret(env="PROXY"))
    control = te.HttpControl("https://control.example", token=te.Secret(file=tmp_path / "token"))
    text = toml_of(edge(endpoint=te.Forward("tcp://127.0.0.1:1", outbound=out), control=control))
    assert "abcdef" not in text
    assert "password" not in text
    assert read(text).edges
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    control = te.HttpControl("https://control.example", token=te.Secret(credential="token"))
    text = toml_of(edge(endpoint=te.Forward("tcp://127.0.0.1:1"), control=control))
    assert 'token = { credential = "token" }' in text
    assert read(text).edges


def test_a_secret_that_stands_in_the_program_is_a_fault_that_does_not_quote_it() -> None:
    control = te.HttpControl("https://control.example", token="abcdef")
    assert faults(edge(control=control, endpoint=te.Forward())) == (
        "control.token is a secret: give it as te.Secret(file=…) or te.Secret(env=…)",
    )


@te.decision
def mine(session: te.Session) -> te.Verdict:
    return te.CONTINUE


async def app(scope: object, receive: object, send: object) -> None: ...


def tenant(session: te.Session) -> str:
    return "shop"


def test_every_part_that_python_alone_can_say_is_named() -> None:
    assert faults(edge(mine, te.Identify(tenant), endpoint=te.Asgi(app))) == (
        "stages[0] is decision(mine), which no file can name: publish it as a plugin, or keep Python",
        "stages[1].by is tenant, which can be given in Python only",
        "endpoint.app is app, which can be given in Python only",
    )
    assert faults(edge(control=te.MemoryControl({}), endpoint=te.Forward()))[0].startswith("control is MemoryControl")
