import pytest

from trioedge_uniproxy.answers import read_alive, read_intervals, read_object
from trioedge_uniproxy.errors import PanelError

KNOWN = {"7", "8"}


@pytest.mark.parametrize(
    ("body", "intervals"),
    [
        (b'{"base_config": {"pull_interval": 30, "push_interval": 90}}', (30, 90)),
        (b'{"base_config": {"pull_interval": "30"}}', (30, 60)),
        (b'{"base_config": {"pull_interval": 1, "push_interval": 1e6}}', (5, 3600)),
        (b'{"base_config": null}', (60, 60)),
        (b"{}", (60, 60)),
    ],
)
def test_intervals_are_read_and_brought_within_bounds(body: bytes, intervals: tuple[float, float]) -> None:
    assert read_intervals(body) == intervals


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON object"),
        (b"[" * 100_000, "no JSON object"),
        (b'{"base_config": []}', "base_config is no object"),
        (b'{"base_config": {"push_interval": -1}}', "base_config.push_interval = -1 is no number of at least 0"),
    ],
)
def test_a_configuration_that_is_none_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(PanelError, match=f"^{fault}$"):
        read_intervals(body)


def test_addresses_of_users_of_the_node_are_counted() -> None:
    assert read_alive(b'{"alive": {"7": 2, "8": "1", "9": 5}}', KNOWN) == {"7": 2, "8": 1}


@pytest.mark.parametrize("body", [b'{"alive": []}', b'{"alive": {}}', b'{"alive": null}', b"{}"])
def test_none_are_online(body: bytes) -> None:
    assert read_alive(body, KNOWN) == {}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"alive": 5}', "alive is no object"),
        (b'{"alive": {"7": "x"}}', r"alive\.7 = 'x' is no number"),
        (b"", "no JSON"),
    ],
)
def test_an_answer_that_counts_nothing_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(PanelError, match=f"^{fault}"):
        read_alive(body, KNOWN)


def test_an_object_is_read() -> None:
    assert read_object(b'{"a": 1}') == {"a": 1}
