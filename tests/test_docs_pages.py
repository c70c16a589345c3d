"""What a newcomer meets: pages begin with installing, search finds the usual words, the English stays plain."""

import re
import tomllib
from pathlib import Path

import pytest

from trioedge.serving.background import MAX_OF_SOURCE, MAX_RUNNING

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "plugins/README.md",
    ROOT / "examples/README.md",
    *sorted(DOCS.rglob("*.md")),
]
NOT_PLAIN = re.compile(r"(?i)\b(?:nobody|somebody|anybody|everybody|whoever|whom)\b|, for (?:it|they|there)\b")
WORDS = ("SNI", "TLS", "plugin", "Docker", "Prometheus", "Troubleshooting", "access log", "PROXY protocol", "UDP")


def prose(page: Path) -> str:
    """The text of a page without blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if name_of(page) != "docs/explanation/architecture.md"], ids=name_of
)
def test_a_page_names_its_actors(page: Path) -> None:
    assert [found[0] for found in NOT_PLAIN.finditer(prose(page))] == []


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_installing_comes_before_the_first_command(page: str) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    commands = "".join(blocks)
    assert commands.index("pip install .") < commands.index("trioedge ")


@pytest.mark.parametrize("word", WORDS)
def test_search_finds_a_word_in_a_heading_or_a_table(word: str) -> None:
    place = re.compile(rf"(?im)^(?:#+ |\|).*\b{word}")
    assert [name_of(page) for page in PAGES if place.search(page.read_text())]


def test_every_page_is_in_the_navigation() -> None:
    pages = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert pages == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def test_the_documentation_is_built_with_ruff_which_formats_signatures() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert any(package.startswith("ruff") for package in groups["docs"])


def test_the_reference_shows_no_method_that_only_attrs_calls() -> None:
    assert '"!^__attrs_"' in (ROOT / "mkdocs.yml").read_text()


@pytest.mark.parametrize(("page", "folder"), [("README.md", "docs/how-to/"), ("docs/index.md", "how-to/")])
def test_a_home_page_links_to_every_guide(page: str, folder: str) -> None:
    linked = set(re.findall(rf"\({folder}([\w-]+)\.md\b", (ROOT / page).read_text()))
    assert linked == {guide.stem for guide in (DOCS / "how-to").glob("*.md")}


def test_the_numbers_of_background_answers_are_those_of_the_code() -> None:
    said = f"{MAX_RUNNING} of them at a time, and {MAX_OF_SOURCE} for one source"
    assert said in (DOCS / "how-to/write-a-handshake.md").read_text()
    assert f"{MAX_RUNNING} are awaited, or {MAX_OF_SOURCE} of its" in (DOCS / "reference/grammar.md").read_text()
