from pathlib import Path
from typing import Any

import pytest

import trioedge as te
from tests.support.edge_files import HEAD, faults, read, with_stage

MATCH = '{{ use = "source-match", reject = {} }}'


def test_a_long_list_is_a_file_with_an_entry_a_line(tmp_path: Path) -> None:
    (tmp_path / "drop.txt").write_text("# bad ones\n192.0.2.0/24\n\n  198.51.100.7   # one more\n")
    found = read(with_stage(MATCH.format('{ file = "drop.txt" }')), tmp_path).edges["a"]
    assert repr(found.outline.parts[0]) == "SourceMatch(0 accepted, 2 rejected)"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ('"192.0.2.1"', "= '192.0.2.1' must be a list or { file = \"…\" }"),
        ('["192.0.2.1", 3]', "[1] = 3 must be text"),
        ("{ file = 3 }", ".file = 3 must be a path"),
        ('{ file = "/dev/zero" }', ".file = '/dev/zero' cannot be read: it is no regular file"),
        ('{ file = "no-such" }', ".file = '/no-such' cannot be read: No such file or directory"),
        ('{ files = "drop.txt" }', '= { files = … } must be a list or { file = "…" }'),
    ],
)
def test_any_other_list_is_a_fault(given: str, fault: str) -> None:
    (found,) = faults(with_stage(MATCH.format(given)))
    assert found in (f"3: edge.a.stages[0].reject{fault}", f"3: edge.a.stages[0].reject {fault}")


def test_a_list_of_bytes_that_are_no_text_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "drop.txt").write_bytes(b"\xff\xfe")
    (fault,) = faults(with_stage(MATCH.format('{ file = "drop.txt" }')), tmp_path)
    assert fault.endswith("is no text of UTF-8")


def test_a_list_of_a_fixed_length_is_a_tuple() -> None:
    found = read(with_stage("", "source_prefix = [24, 56]")).edges["a"]
    assert found.description.source_prefix == (24, 56)
    assert faults(with_stage("", "source_prefix = [24]")) == ["5: edge.a.source_prefix = [24] must be a list of 2"]
    assert faults(with_stage("", 'source_prefix = [24, "x"]')) == [
        "5: edge.a.source_prefix[1] = 'x' must be a whole number"
    ]


def test_a_table_of_data_keeps_its_keys() -> None:
    stage = '{ use = "sni-route", routes = { "a.example" = "tcp://127.0.0.1:1", "*.b.example" = "shop" } }'
    assert repr(read(with_stage(stage, to="")).edges["a"].outline.parts[0]).startswith("SniRoute")
    (fault,) = faults(with_stage('{ use = "sni-route", routes = { "a.example" = 3 } }'))
    assert fault == "3: edge.a.stages[0].routes.'a.example' = 3 must be text"
    (fault,) = faults(with_stage('{ use = "sni-route", routes = "a.example" }'))
    assert fault == "3: edge.a.stages[0].routes = 'a.example' must be a table"


def test_a_class_inside_of_a_part_is_a_table() -> None:
    stage: Any = read(with_stage('{ use = "device-limit", devices = 2, grace = { seconds = 3 } }')).edges["a"]
    assert stage.outline.parts[0].grace == te.Grace(seconds=3)
    (fault,) = faults(with_stage('{ use = "device-limit", devices = 2, grace = { second = 3 } }'))
    assert fault == "3: edge.a.stages[0].grace.second is no key of Grace: did you mean 'seconds'?"
    (fault,) = faults(with_stage('{ use = "device-limit", devices = 2, grace = 3 }'))
    assert fault == "3: edge.a.stages[0].grace = 3 must be a table"
    (fault,) = faults(with_stage('{ use = "device-limit", devices = 2, grace = { seconds = 0 } }'))
    assert fault == "3: edge.a.stages[0].grace.seconds: Grace(seconds=0) must be a number above 0"


def test_stages_inside_of_a_stage_are_tables_with_use() -> None:
    inner = '{ use = "socks" }'
    detect = f'{{ use = "detect", protocols = {{ socks = {inner}, tls = [], http = "tcp://127.0.0.1:1" }} }}'
    assert repr(read(with_stage(detect, to="")).edges["a"].outline.parts[0]).startswith("Detect(")
    (fault,) = faults(with_stage(detect.replace('"socks" }', '"sock" }')))
    assert fault.startswith("3: edge.a.stages[0].protocols.socks.use = 'sock' is no stage: did you mean 'socks'?")
    (fault,) = faults(with_stage(detect.replace(inner, "{ seconds = 3 }")))
    assert fault.startswith("3: edge.a.stages[0].protocols.socks = { seconds = … } must be ")


def test_an_outbound_is_known_by_its_name() -> None:
    text = HEAD + 'endpoint = { use = "forward", to = "both" }\n[outbound.both]\nuse = "balanced"\n'
    members = 'members = ["tcp://127.0.0.1:1", { address = "tcp://127.0.0.1:2", weight = 2 }]\n'
    endpoint: Any = read(text + members).edges["a"].outline.parts[-1]
    assert "Balanced" in repr(endpoint)
    assert faults(text.replace('"both" }', '"bth" }') + members) == [
        "3: edge.a.endpoint.to = 'bth' is no outbound: did you mean 'both'? (an address is written tcp://host:port)"
    ]
    (fault,) = faults(HEAD + 'endpoint = { use = "forward", outbound = "out" }')
    assert fault.startswith("3: edge.a.endpoint.outbound = 'out' is no outbound: the file has no [outbound.…] (")
    (fault,) = faults(HEAD + 'endpoint = { use = "forward", outbound = 3 }')
    assert fault == "3: edge.a.endpoint.outbound = 3 must be the name of an outbound"


def test_a_value_of_no_shape_of_a_union_names_all_of_them() -> None:
    (fault,) = faults(HEAD.replace('"tcp://127.0.0.1:0"', "3") + 'endpoint = { use = "forward" }')
    assert fault == '2: edge.a.listen = 3 must be a list or { file = "…" } or text'
