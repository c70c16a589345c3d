"""Parts of a test's own, in a package that is installed for the length of a test."""

import pytest

from tests.support.edge_files import HEAD, faults, read, with_stage
from tests.support.packages import Packages, plugin

HOURS = '''
import trioedge as te

@te.decision
def weekdays(session):
    return te.CONTINUE

def makes(limit: int = 3):
    """Make a decision.

    Args:
        limit: at least 1.
    """
    if limit < 1:
        raise te.ConfigurationError(f"makes(limit={limit}) must be at least 1")
    return te.decision(lambda session: te.CONTINUE)

class Hours:
    """Refuse sessions outside of certain hours."""

    def __init__(self, since: int, until: int = 18, *, note: str = "", clock=None) -> None:
        """Set the hours.

        Args:
            since: the first hour, 0 to 23.
            until: the last one, 1 to 24. Later ones are refused.
        """
        if not 0 <= since <= 23:
            raise te.ConfigurationError(f"Hours(since={since}) must be 0 to 23")
        if not 1 <= until <= 24:
            raise te.ConfigurationError(f"Hours(until={until}) must be 1 to 24")
        if note == "crash":
            raise ZeroDivisionError("no such hour")
        if note == "exit":
            raise SystemExit(3)

    def decide(self, session):
        return te.CONTINUE
'''


@pytest.fixture(autouse=True)
def _hours(packages: Packages) -> None:
    names = ("hours = trioedge_hours:Hours", "weekdays = trioedge_hours:weekdays", "makes = trioedge_hours:makes")
    packages.add("trioedge-hours", entry_points="\n".join(["[trioedge.stages]", *names]), trioedge_hours=HOURS)


def test_the_arguments_of_a_plugin_are_its_keys() -> None:
    for line in ('{ use = "hours", since = 8 }', '{ use = "trioedge-hours:hours", since = 8, until = 9 }'):
        assert type(read(with_stage(line)).edges["a"].outline.parts[0]).__name__ == "Hours"


def test_a_part_that_is_made_already_has_no_keys() -> None:
    assert repr(read(with_stage('{ use = "weekdays" }')).edges["a"].outline.parts[0]) == "decision(weekdays)"
    assert faults(with_stage('{ use = "weekdays", since = 8 }')) == [
        "3: edge.a.stages[0].since is no key of weekdays: it has none"
    ]


def test_an_observer_that_is_made_already_is_taken_as_it_is(packages: Packages) -> None:
    text = "class Counter:\n    async def observe(self, batch): ...\ncounter = Counter()\n"
    packages.add("trioedge-counter", entry_points=plugin("observers", "counter", "counts:counter"), counts=text)
    found = read(f'{with_stage("")}observers = [{{ use = "counter" }}]\n')
    assert (list(found.edges), dict(found.broken)) == (["a"], {})


def test_a_function_that_makes_a_part_has_its_arguments_as_keys() -> None:
    assert read(with_stage('{ use = "makes", limit = 2 }')).edges
    assert faults(with_stage('{ use = "makes", limit = 0 }')) == [
        "3: edge.a.stages[0].limit: makes(limit=0) must be at least 1"
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{ use = "hours" }', " needs since: the first hour, 0 to 23"),
        ('{ use = "hours", since = 8, sinse = 9 }', ".sinse is no key of Hours: did you mean 'since'?"),
        ('{ use = "hours", since = 8, qqq = 9 }', ".qqq is no key of Hours: there are note, since, until"),
        ('{ use = "hours", since = 8, clock = "x" }', ".clock can be given in Python only"),
        ('{ use = "hours", since = 99 }', ".since: Hours(since=99) must be 0 to 23"),
        ('{ use = "hours", since = 8, until = 0 }', ".until: Hours(until=0) must be 1 to 24"),
        ("{ since = 8 }", " = { since = … } must be a table with use, as in { use = 'session-gate' }"),
        ('"hours"', " = 'hours' must be a table with use, as in { use = 'session-gate' }"),
        ("{ use = 3 }", ".use = 3 must be text"),
        ('{ use = "hours", since = 8, note = "crash" }', " Hours failed: ZeroDivisionError('no such hour')"),
        ('{ use = "hours", since = 8, note = "exit" }', " Hours failed: SystemExit(3)"),
    ],
)
def test_a_fault_of_a_part_is_one_line_with_its_path(line: str, fault: str) -> None:
    bad = '[edge.b]\nlisten = 3\nendpoint = { use = "forward", to = "tcp://127.0.0.1:1" }'  # a fault of the operator's
    assert f"3: edge.a.stages[0]{fault}" in faults(with_stage(line, bad))


def test_a_plugin_whose_arguments_cannot_be_read_costs_its_own_edge(packages: Packages) -> None:
    text = HOURS + "\nHours.__signature__ = 5\n"
    packages.add("trioedge-odd", entry_points=plugin("stages", "odd", "trioedge_odd:Hours"), trioedge_odd=text)
    other = '[edge.b]\nlisten = "tcp://127.0.0.1:0"\nendpoint = { use = "forward", to = "tcp://127.0.0.1:1" }\n'
    found = read(with_stage('{ use = "odd" }', other))
    assert list(found.edges) == ["b"]
    assert "edge.a.stages[0].use: trioedge-odd 0.1.0: trioedge_odd:Hours has no signature" in found.broken["a"]


def test_a_message_of_a_plugin_is_one_line(packages: Packages) -> None:
    text = "import trioedge as te\ndef odd(x: int = 1):\n    raise te.ConfigurationError('x is\\n  bad')\n"
    packages.add("trioedge-odd", entry_points=plugin("stages", "odd", "trioedge_odd:odd"), trioedge_odd=text)
    assert faults(with_stage('{ use = "odd" }')) == ["3: edge.a.stages[0]: x is bad"]


def test_a_set_of_tables_can_be_given_in_python_only(packages: Packages) -> None:
    text = "def odd(x: set[dict[str, int]] = frozenset()): ...\n"
    packages.add("trioedge-odd", entry_points=plugin("stages", "odd", "trioedge_odd:odd"), trioedge_odd=text)
    assert faults(with_stage('{ use = "odd", x = [{ a = 1 }] }')) == [
        "3: edge.a.stages[0].x can be given in Python only"
    ]


def test_every_fault_of_a_table_is_named_in_one_run() -> None:
    line = '{ use = "session-gate", rate = 0, burst = 0, per = "all", capacity = 0, x = 1 }'
    found = faults(with_stage(line))
    assert found == ["3: edge.a.stages[0].x is no key of SessionGate: there are burst, capacity, per, rate"]
    found = faults(with_stage(line.replace(", x = 1", "")))
    keys = {each.split(":")[1].removeprefix(" edge.a.stages[0].") for each in found}
    assert keys == {"rate", "burst", "per", "capacity"}


def test_an_outbound_that_no_part_asks_for_is_read_too() -> None:
    text = (
        HEAD + 'endpoint = { use = "forward", to = "tcp://127.0.0.1:1" }\n[outbound.out]\nuse = "direct"\ntls = "x"\n'
    )
    assert faults(text) == ["6: outbound.out.tls = 'x' must be true or false"]


def test_the_proxies_of_a_chain_are_passed_in_their_order() -> None:
    out = '[outbound.out]\nuse = "via"\nproxy = "socks5://127.0.0.1:1"\nfurther = ["http://127.0.0.1:2"]\n'
    text = f'{HEAD}endpoint = {{ use = "forward", to = "tcp://127.0.0.1:1", outbound = "out" }}\n{out}'
    assert "Via('socks5://127.0.0.1:1', 'http://127.0.0.1:2')" in repr(read(text).edges["a"].outline.parts[-1])
