import re
import ssl
from pathlib import Path
from typing import Any

import pytest

import trioedge as te
from tests.support.members import address
from tests.support.ports import closed_port
from trioedge.cli import main


def test_its_repr_has_the_proxies_and_no_login() -> None:
    via = te.Via("socks5://ann:secret@one:1080", "http://two:3128", remote_names=True)
    assert repr(via) == "Via('socks5://***@one:1080', 'http://two:3128', remote_names=True)"
    assert repr(te.Forward("tcp://192.0.2.1:80", outbound=via)).endswith(f"outbound={via!r})")
    assert "secret" not in repr(vars(via))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"remote_names": 1}, "Via(remote_names=1) must be true or false"),
        ({"tls": True}, "Via(tls=True) must be an ssl.SSLContext"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(te.ConfigurationError, match=re.escape(fault)):
        te.Via("socks5://one:1080", **changes)


def test_it_takes_a_context_for_tls_and_cannot_be_changed() -> None:
    context = ssl.create_default_context()
    via = te.Via("https://one:443", tls=context)
    assert via.tls is context
    with pytest.raises(AttributeError):
        via.remote_names = True


async def test_a_way_that_begins_at_the_edge_itself_is_refused() -> None:
    port = closed_port()
    via = te.Via(f"socks5://127.0.0.1:{port}")
    edge = te.Edge(address(port), [], te.Forward("tcp://192.0.2.1:80", outbound=via))
    fault = pytest.RaisesExc(te.ConfigurationError, match="begins at .* where this edge itself listens")
    with pytest.RaisesGroup(fault, flatten_subgroups=True):
        await edge.serve()


FILE = """\
import trioedge as te
edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://192.0.2.1:80", outbound=te.Via({arguments})))
"""


@pytest.mark.parametrize("remote", [False, True])
def test_check_says_of_remote_names_that_addresses_are_not_judged(
    remote: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.py").write_text(FILE.format(arguments=f"'socks5://ann:secret@one:1080', remote_names={remote}"))
    assert main(["check", "x.py"]) == 0
    said = capsys.readouterr().out
    note = "note: outbound of the endpoint: the proxy resolves names, so allow= judges destinations that are written"
    assert (note in said) == remote
    assert "task: one each, after the leading decisions; Forward needs it" in said
    assert "secret" not in said
