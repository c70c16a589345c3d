"""The page of the admin API says what there is."""

import re
from pathlib import Path

from trioedge.admin.feed import MAX_READERS, QUEUE
from trioedge.admin.operation import MAX_BODY, Operation
from trioedge.admin.operations import OPERATIONS
from trioedge.admin.refusals import STATUSES
from trioedge.admin.topics.ends import MAX_ITEMS
from trioedge.endpoints.asgi.own_server import IDLE_SECONDS, MAX_CONNECTIONS, WRITE_SECONDS

PAGE = (Path(__file__).parents[1] / "docs/reference/admin-api.md").read_text()


def rows(heading: str) -> list[list[str]]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1:]]


def said(operation: Operation) -> str:
    if operation.lines:
        return "lines"
    return ", ".join(f"`{each.name}`" for each in operation.parameters if each.place != "path")


def test_every_operation_is_listed_with_its_parameters() -> None:
    listed = {row[0].strip("`"): row[1] for row in rows("Operations")}
    assert listed == {f"{each.method} {each.path}": said(each) for each in OPERATIONS}


def test_every_status_of_an_error_is_explained() -> None:
    listed = [int(row[0]) for row in rows("Errors")]
    assert listed == sorted(listed)
    used = {status for each in OPERATIONS for status in each.statuses}
    assert used <= {*listed} <= {*STATUSES}


def test_every_event_is_explained() -> None:
    source = (Path(__file__).parents[1] / "trioedge/admin/feed.py").read_text()
    sent = {*re.findall(r'event\("(\w+)"', source), "ended", "refused"}
    assert {name for row in rows("Events") for name in re.findall(r"`(\w+)`", row[0])} == sent


def test_the_bounds_of_the_page_are_those_of_the_code() -> None:
    assert f"at most {MAX_ITEMS} ends a look, and {QUEUE} events" in PAGE
    assert (MAX_READERS, MAX_CONNECTIONS, WRITE_SECONDS, IDLE_SECONDS, MAX_BODY) == (32, 64, 15, 15, 64 << 10)
