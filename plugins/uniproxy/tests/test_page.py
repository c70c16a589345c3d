"""The page of the plugin: its limits and its blocks are those of the package."""

import re
from pathlib import Path

from trioedge_uniproxy import answers, books, control, panel, sender, users

PAGE = (Path(__file__).parents[3] / "docs/plugins/uniproxy.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """Give the first and the second cell of each row of the table below a heading."""
    text = PAGE.partition(f"## {heading}\n")[2]
    table = text[text.index("|") :].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    return {row[0]: row[1] for row in cells}


def test_the_limits_are_those_of_the_code() -> None:
    said = rows("Limits")
    assert said["users of a node"] == f"{users.MAX_USERS:,}"
    assert said["the answer with all users"] == f"{panel.MAX_USER_BYTES >> 20} MiB"
    assert said["any other answer"] == f"{panel.MAX_BYTES >> 20} MiB"
    assert said["intervals of the panel"] == f"{answers.MIN_SECONDS:g} s to {answers.MAX_SECONDS:,.0f} s"
    assert said["users in one push"] == f"{sender.USERS_PER_REQUEST:,}"
    assert said["removed users whose late reports are still expected"] == f"{books.MAX_RETIRED:,}"
    assert f"tried anew\nafter {control.DENIED_SECONDS:g} s" in PAGE
    assert f"after {control.FIRST_RETRY_SECONDS:g} to {control.MAX_RETRY_SECONDS:g} s" in PAGE


def test_the_blocks_of_the_page_are_parts_of_the_files() -> None:
    for name, text in re.findall(
        r'^```\w+ title="plugins/uniproxy/([\w.]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL
    ):
        assert text in (Path(__file__).parents[1] / name).read_text()
