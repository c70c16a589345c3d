from pathlib import Path
from typing import Any

import pytest

import trioedge as te
from tests.support.edge_files import HEAD, faults, read, with_stage

FORWARD = 'endpoint = { use = "forward", to = "tcp://127.0.0.1:1" }\n'


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{ use = "session-gate", rate = "5" }', "stages[0].rate = '5' must be a number"),
        ('{ use = "session-gate", rate = true }', "stages[0].rate = True must be a number"),
        ('{ use = "session-gate", rate = 1, burst = 1.5 }', "stages[0].burst = 1.5 must be a whole number"),
        ('{ use = "session-gate", per = 3 }', "stages[0].per = 3 must be text"),
        ('{ use = "source-match", of = "me" }', "stages[0].of = 'me' must be 'source' or 'peer'"),
        ('{ use = "source-match", of = 1 }', "stages[0].of = 1 must be 'source' or 'peer'"),
        ('{ use = "session-gate", rate = 99999999999999999999 }', "stages[0].rate has more than 64 bits"),
        ('{ use = "session-gate", rate = 1979-05-27 }', "stages[0].rate = datetime.date(1979, 5, 27) must be a number"),
    ],
)
def test_a_value_of_another_kind_is_one_line(line: str, fault: str) -> None:
    assert faults(with_stage(line)) == [f"3: edge.a.{fault}"]


@pytest.mark.parametrize("key", ["'b\"SSH-\"'", "\"b'SSH-'\"", "'b\"\\x53SH-\"'"])
def test_bytes_are_written_as_python_writes_them(key: str) -> None:
    stage = f'{{ use = "detect", protocols = {{ {key} = "tcp://127.0.0.1:22" }} }}'
    found = read(with_stage(stage, to="")).edges["a"]
    assert repr(found.outline.parts[0]) == "Detect(b'SSH-')"


@pytest.mark.parametrize("key", ["'b\"SSH-'", "ssh", "\"b'' + b''\"", "'b\"\\xzz\"'"])
def test_a_key_that_is_no_protocol_and_no_bytes_is_a_fault(key: str) -> None:
    (fault,) = faults(with_stage(f'{{ use = "detect", protocols = {{ {key} = "tcp://127.0.0.1:22" }} }}'))
    assert "bytes as Python writes them" in fault


def test_a_relative_path_begins_at_the_folder_of_the_file(tmp_path: Path) -> None:
    found = read(f'{HEAD}{FORWARD}control = {{ use = "file", path = "services.toml" }}', tmp_path).edges["a"]
    assert repr(found.control) == f"FileControl({str(tmp_path / 'services.toml')!r})"
    found = read(f'{HEAD}{FORWARD}control = {{ use = "file", path = "/etc/services.toml" }}', tmp_path).edges["a"]
    assert repr(found.control) == "FileControl('/etc/services.toml')"


@pytest.mark.parametrize("path", ['""', '"a\\u0000b"', "3", "[]"])
def test_what_is_no_path_is_a_fault(path: str) -> None:
    (fault,) = faults(f'{HEAD}{FORWARD}control = {{ use = "file", path = {path} }}')
    assert fault.startswith("4: edge.a.control.path = ")
    assert fault.endswith("must be a path")


@pytest.mark.parametrize("to", ["-", "stderr"])
def test_a_choice_goes_before_a_path(to: str, tmp_path: Path) -> None:
    found = read(f'{HEAD}{FORWARD}access_log = {{ to = "{to}" }}', tmp_path).edges["a"].access_log
    assert found is not None
    assert found.to == to


def control(token: str) -> str:
    return f'{HEAD}{FORWARD}control = {{ use = "http", url = "https://control.example", token = {token} }}'


PLACES = 'write { file = "…" }, { env = "…" } or { credential = "…" }'


def test_a_secret_is_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("abcdef\n")
    monkeypatch.setenv("EDGE_TOKEN", "abcdef")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for token in ('{ file = "token" }', '{ env = "EDGE_TOKEN" }', '{ credential = "token" }'):
        assert isinstance(read(control(token), tmp_path).edges["a"].control, te.HttpControl)


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        ('"s3cr3t-t0ken"', " is a secret: " + PLACES),
        ("3", " is a secret: " + PLACES),
        ('{ fil = "token" }', " has no key 'fil': it is a secret: " + PLACES),
        ("{ file = 3 }", ".file = 3 must be text"),
        ("{}", ': a secret is file = "…", env = "…" or credential = "…": give one of the three'),
        ('{ file = "a", env = "b" }', ': a secret is file = "…", env = "…" or credential = "…": give one of the three'),
        ('{ env = "NO_SUCH_VARIABLE" }', ": Secret(env='NO_SUCH_VARIABLE') is not set, or is empty"),
        ('{ file = "a\\u0000b" }', ": Secret(file='/a\\x00b') cannot be read: no path has a NUL in it"),
        ('{ file = "no-such" }', ": Secret(file='/no-such') cannot be read: No such file or directory"),
    ],
)
def test_any_other_secret_is_a_fault_that_quotes_no_text(token: str, fault: str) -> None:
    assert faults(control(token)) == [f"4: edge.a.control.token{fault}"]


def via(proxy: str) -> str:
    endpoint = 'endpoint = { use = "forward", to = "tcp://127.0.0.1:1", outbound = "out" }'
    return f'{HEAD}{endpoint}\n[outbound.out]\nuse = "via"\nproxy = {proxy}\n'


def test_a_url_without_a_login_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY", "socks5://user:s3cr3t@127.0.0.1:1080")
    assert read(via('"socks5://127.0.0.1:1080"')).edges
    assert read(via('{ env = "PROXY" }')).edges
    (fault,) = faults(via('"socks5://user:s3cr3t@127.0.0.1:1080"'))
    assert fault == '6: outbound.out.proxy is a secret: write { file = "…" }, { env = "…" } or { credential = "…" }'


@pytest.mark.parametrize("value", ["1", "1.5", "inf"])
def test_a_whole_number_is_a_number_too(value: str) -> None:
    stage: Any = read(with_stage(f'{{ use = "idle-timeout", seconds = {value} }}')).edges["a"].outline.parts[0]
    assert stage.given() == {"seconds": float(value)}
