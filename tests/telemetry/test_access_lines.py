import json
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.addresses.address import parse_address
from trioedge.session.verdict import Completed, Reason, Reject
from trioedge.telemetry.access_lines import as_json, as_text, fields, sampled
from trioedge.telemetry.ends import SessionEnd

STAGES = ["SourceMatch", "SessionGate", "Forward"]
END = SessionEnd(
    id=7, outcome=Completed(), listener="tcp://127.0.0.1:6380", peer="192.0.2.1", source="198.51.100.7", service="shop",
    device="phone", destination=None, upstream=parse_address("tcp://[2001:db8::1]:80"), connected=0.0012345,
    bytes_up=12, bytes_down=345, seconds=1.23456, ended_at=10.0, trace=[400, 500],
)  # fmt: skip
REFUSED = attrs.evolve(
    END, outcome=Reject(Reason.RATE, "more than 5 a second"), device=None, upstream=None, connected=None, bytes_up=0,
    bytes_down=0, seconds=0.0, trace=[400, ~500],
)  # fmt: skip
OFFSET = 1_790_000_000.5

JSON = {
    "time": "2026-09-21T14:13:30.500Z", "id": 7, "outcome": "ended", "reason": "finished",
    "listener": "tcp://127.0.0.1:6380", "peer": "192.0.2.1", "source": "198.51.100.7", "service": "shop",
    "device": "phone", "destination": None, "upstream": "tcp://[2001:db8::1]:80", "connect_ms": 1.234, "bytes_up": 12,
    "bytes_down": 345, "seconds": 1.235, "stage": None, "detail": None,
}  # fmt: skip


def test_a_line_of_json_has_every_field() -> None:
    line = as_json(fields(END, OFFSET, STAGES))
    assert json.loads(line) == JSON
    assert list(json.loads(line)) == list(JSON)


def test_a_line_of_text_has_the_fields_with_a_value() -> None:
    assert as_text(fields(END, OFFSET, STAGES)) == (
        "time=2026-09-21T14:13:30.500Z id=7 outcome=ended reason=finished listener=tcp://127.0.0.1:6380 peer=192.0.2.1 "
        "source=198.51.100.7 service=shop device=phone upstream=tcp://[2001:db8::1]:80 connect_ms=1.234 bytes_up=12 "
        "bytes_down=345 seconds=1.235"
    )
    assert as_text(fields(REFUSED, OFFSET, STAGES)) == (
        "time=2026-09-21T14:13:30.500Z id=7 outcome=refused reason=rate listener=tcp://127.0.0.1:6380 peer=192.0.2.1 "
        'source=198.51.100.7 service=shop bytes_up=0 bytes_down=0 seconds=0.0 stage=SessionGate detail="more than 5 a '
        'second"'
    )


@pytest.mark.parametrize(
    ("trace", "stage"),
    [
        (None, None),  # the edge had too many sessions
        ([~5], "SourceMatch"),
        ([5, ~5], "SessionGate"),
        ([], "SourceMatch"),  # it raised
        ([5], "SessionGate"),
        ([5, 5], "Forward"),
        ([5, 5, 5], None),
    ],
)
def test_the_stage_that_refused_is_named(trace: list[int] | None, stage: str | None) -> None:
    assert fields(attrs.evolve(REFUSED, trace=trace), OFFSET, STAGES)["stage"] == stage
    assert fields(attrs.evolve(END, trace=trace), OFFSET, STAGES)["stage"] is None


HOSTILE = [
    'x" reason=finished', "x\nid=8 outcome=ended", "x\r\n", "\x1b[31m", "\u202egnp", "\udcff", "", " ", "a=b", '"',
    "\\", "\x00", "\u2028", "naïve", "-",
]  # fmt: skip


def parsed(line: str) -> dict[str, Any]:
    """Read a line of text as a program would."""
    found: dict[str, Any] = {}
    while line:
        name, _, line = line.partition("=")
        if line.startswith('"'):
            found[name], end = json.JSONDecoder().raw_decode(line)
            line = line[end:]
        else:
            found[name], _, line = line.partition(" ")
            continue
        assert line[:1] in ("", " ")
        line = line[1:]
    return found


def check_lines(text: str) -> None:
    end = attrs.evolve(END, device=text, destination=text, service=text, outcome=Completed(Reason.IDLE, text))
    line = fields(end, OFFSET, STAGES)
    for written in (as_json(line), as_text(line)):
        assert re.fullmatch(r"[ -~]+", written)
    expected = {"device": text, "destination": text, "service": text, "detail": text or None}
    assert {name: json.loads(as_json(line))[name] for name in expected} == expected
    read = parsed(as_text(line))
    assert {name: read.get(name) for name in expected} == expected
    assert list(read) == [name for name, value in line.items() if value is not None]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_value_ends_a_line_or_looks_like_another_field(text: str) -> None:
    check_lines(text)


@given(st.text(st.characters()))
def test_every_text_is_read_back_as_it_was(text: str) -> None:
    check_lines(text)


@pytest.mark.parametrize(("part", "kept"), [(0.0, 0), (0.01, 100), (0.5, 5_000), (1.0, 10_000)])
@pytest.mark.parametrize("first", [1, 123_456_789])
def test_a_sample_is_that_part_of_any_run_of_sessions(part: float, kept: int, first: int) -> None:
    found = [sampled(number, part) for number in range(first, first + 10_000)]
    assert abs(sum(found) - kept) <= 2
    assert part in (0, 1) or abs(sum(found[:1000]) - kept / 10) <= 2
