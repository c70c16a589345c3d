"""Forward as it is written down: its arguments and their messages."""

from functools import partial
from typing import Any

import pytest

import trioedge as te
from trioedge.addresses.address import Address, parse_address
from trioedge.upstreams.by_policy import max_idle


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": "127.0.0.1:1"}, "must begin with tcp://"),
        ({"to": "tcp://127.0.0.1:0"}, "nothing answers on port 0"),
        ({"to": "tcp://127.0.0.1:1", "preconnect": -1}, "preconnect=-1"),
        ({"to": "tcp://127.0.0.1:1", "preconnect": 1.5}, r"preconnect=1\.5"),
        ({"to": "tcp://127.0.0.1:1", "connect_seconds": 0}, "connect_seconds=0"),
        ({"to": "tcp://127.0.0.1:1", "retries": -1}, "retries=-1"),
        ({"to": "tcp://127.0.0.1:1", "retries": 11}, "retries=11"),
        ({"to": "tcp://127.0.0.1:1", "retries": 1.5}, "retries=1.5"),
        ({"preconnect": 1}, "needs one destination, to='tcp://…'; a policy has its own preconnect"),
        ({"allow": ["moon"]}, r"Forward\(allow='moon'\) must be 'private'"),
        ({"allow": "global"}, r"Forward\(allow='global'\)"),
        ({"to": lambda session: "tcp://127.0.0.1:1", "preconnect": 1}, "needs one destination"),
        ({"to": 6380}, "address 6380 is not text: write 'tcp://127\\.0\\.0\\.1:6380'"),
        ({"outbound": "tcp://proxy:1"}, r"Forward\(outbound = 'tcp://proxy:1' is no outbound"),
        ({"outbound": te.Direct}, r"Forward\(outbound is a class"),
    ],
)
def test_a_bad_argument_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(te.ConfigurationError, match=message):
        te.Forward(**arguments)  # type: ignore[arg-type]


def test_a_forward_without_a_destination_needs_a_stage_or_a_control_plane() -> None:
    with pytest.raises(te.ConfigurationError, match=r"Forward\(\) names no destination, and no control"):
        te.Edge("tcp://127.0.0.1:0", [], te.Forward())


def choose(session: te.Session) -> str:
    return "tcp://127.0.0.1:1"


async def choose_later(session: te.Session) -> str:
    raise AssertionError


class Choosing:
    def __call__(self, session: te.Session) -> str:
        return "tcp://127.0.0.1:1"


class ChoosingLater:
    async def __call__(self, session: te.Session) -> str:
        raise AssertionError


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (choose_later, r"Forward\(to=choose_later\) is async: a plain def"),
        (ChoosingLater(), r"Forward\(to=ChoosingLater\) is async: a plain def"),
        (partial(choose_later), r"Forward\(to=partial\) is async: a plain def"),
        (Choosing, r"Forward\(to=Choosing\) is a class: write an address, or a function of the session"),
        (Address, r"Forward\(to=Address\) is a class"),
        (lambda: "tcp://127.0.0.1:1", r"Forward\(to=<lambda>\) must take the session and nothing else"),
        (lambda session, port: "tcp://127.0.0.1:1", "must take the session and nothing else"),
    ],
)
def test_a_function_that_cannot_choose_is_refused_at_once(to: Any, message: str) -> None:
    with pytest.raises(te.ConfigurationError, match=message):
        te.Forward(to)


@pytest.mark.parametrize("to", [choose, Choosing(), partial(choose), parse_address("tcp://127.0.0.1:1")])
def test_a_function_an_object_that_is_called_and_an_address_are_taken(to: Any) -> None:
    assert te.Forward(to).to == to


def test_a_forward_enforces_the_fields_of_policies_that_it_reads() -> None:
    class Way:
        async def connect(self, address: Address) -> Any:
            raise AssertionError

    assert te.Forward().enforces == ("destination", "outbound", "preconnect")
    assert te.Forward(outbound=te.Direct()).enforces == ("destination", "outbound", "preconnect")
    assert te.Forward(outbound=Way()).enforces == ("destination", "outbound")
    assert te.Forward("tcp://127.0.0.1:1").enforces == te.Forward(choose).enforces == ()


def test_a_forward_counts_its_idle_connections_among_the_descriptors() -> None:
    assert te.Forward("tcp://127.0.0.1:1", preconnect=7).descriptors == 7
    assert te.Forward().descriptors == max_idle()


def test_a_forward_prints_as_it_was_written() -> None:
    assert repr(te.Forward(choose)) == "Forward(choose, connect_seconds=5)"
    assert repr(te.Forward(Choosing())) == "Forward(Choosing, connect_seconds=5)"
    assert repr(te.Forward()) == "Forward(connect_seconds=5)"
    assert repr(te.Forward("tcp://127.0.0.1:1", preconnect=2)) == (
        "Forward('tcp://127.0.0.1:1', preconnect=2, connect_seconds=5)"
    )
    assert repr(te.Forward(allow="loopback")) == "Forward(connect_seconds=5, allow=['loopback'])"
