"""The pictures of the guide: small, shown, and of a kind that follows the reader's colours."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = sorted((DOCS / "assets").glob("*.webp"))
SHOWN = re.findall(r"\(\.\./assets/([\w.-]+\.webp)#only-(light|dark)\)", (DOCS / "how-to/dashboard.md").read_text())


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small(picture: Path) -> None:
    assert picture.stat().st_size < 150_000


def test_every_picture_is_shown_to_readers_of_its_colours() -> None:
    assert sorted(name for name, _ in SHOWN) == [each.name for each in PICTURES]
    assert all(name.endswith(f"-{mode}.webp") for name, mode in SHOWN)
