"""The dashboard page as the admin API serves it."""

import gzip
import re

import pytest

import trioedge as te
from tests.support.admin import api_of, ask
from trioedge.admin.page.answers import INDEX, page_files


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> te.Secret:
    monkeypatch.setenv("ADMIN_TOKEN", "secret")
    return te.Secret(env="ADMIN_TOKEN")


async def test_the_page_needs_no_token_because_it_has_no_data(token: te.Secret) -> None:
    found = await ask(api_of(token=token), "GET", "/")
    assert (found.status, found.headers[b"content-type"]) == (200, b"text/html; charset=utf-8")
    assert found.body.startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.css", b"text/css; charset=utf-8"),
        ("page.js", b"text/javascript; charset=utf-8"),
        ("icon.svg", b"image/svg+xml"),
    ],
)
async def test_a_file_of_the_page_has_its_media_type(token: te.Secret, name: str, kind: bytes) -> None:
    found = await ask(api_of(token=token), "GET", f"/page/{name}")
    assert (found.status, found.headers[b"content-type"]) == (200, kind)


@pytest.mark.parametrize("name", ["index.html", "answers.py", "..%2Fapi.py", "none.js", "%3Cb%3E"])
async def test_what_is_no_file_of_the_page_is_not_found(name: str) -> None:
    assert (await ask(api_of(), "GET", f"/page/{name}")).status == 404


async def test_a_browser_is_told_to_load_nothing_from_elsewhere_and_to_run_no_script_of_the_text() -> None:
    policy = (await ask(api_of(), "GET", "/")).headers[b"content-security-policy"].decode()
    rules = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert {rules[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}


def test_the_page_names_every_file_that_it_loads_and_has_no_other() -> None:
    text = {name: file.body.decode() for name, file in page_files().items() if isinstance(file.body, bytes)}
    loaded = set(re.findall(r'(?:href|src)="page/([\w.]+)"', text[INDEX]))
    loaded |= {name for each in text.values() for name in re.findall(r'from "\./([\w.]+)"', each)}
    assert loaded == {*text} - {INDEX}


def test_the_page_is_small() -> None:
    bodies = [file.body for file in page_files().values() if isinstance(file.body, bytes)]
    assert sum(map(len, bodies)) < 75_000
    assert len(gzip.compress(b"".join(bodies))) < 25_000


@pytest.mark.parametrize("name", [name for name in page_files() if name.endswith(".js")])
def test_no_script_makes_html_of_text(name: str) -> None:
    body = page_files()[name].body
    assert isinstance(body, bytes)
    code = re.sub(rb"/\*.*?\*/", b"", body, flags=re.DOTALL)
    assert not re.search(rb"(inner|outer)HTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function", code)
