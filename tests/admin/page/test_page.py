"""The dashboard page in a browser, before an edge that is not there."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.support.browser import Page, open_page
from tests.support.contrast import TOO_FAINT
from tests.support.paged_edge import HOSTILE, FakeEdge, serving

pytestmark = pytest.mark.peer("chromium")

SOURCE = "198.51.100.23"
READY = "document.querySelectorAll('#rates .line').length === 5 && document.querySelector('#line').innerText === 'live'"


@asynccontextmanager
async def dashboard(edge: FakeEdge, **look: Any) -> AsyncIterator[Page]:
    """Open the dashboard in a window that shows all of it, and wait until it is drawn."""
    async with serving(edge) as address, open_page(**{"height": 6_000, **look}) as page:
        await page.open(address)
        await page.until(READY)
        yield page
        assert [each for each in page.console if "ERR_" not in each] == []
        assert [each for each in page.requests if not each.startswith(address)] == []


async def ask_again(page: Page) -> None:
    """Let the page ask for everything at once, as one that was hidden does."""
    await page.run("document.dispatchEvent(new Event('visibilitychange'))")


SECTIONS = {
    "#name": "shop-edge",
    "#phase": "serving",
    "#facts": "up 3 d 4 h",
    "#workers tbody tr:nth-child(3)": "600,211",
    "#control": "2026-11-30.4",
    "#reports ~ div": "3 services",
    "#stages tbody": "80.2 %",
    "#stages .stack": "Forward",
    "#refusals tbody": "113,075",
    "#recent ~ .scroll": "SessionGate",
    "#services tbody": "300 of 300",
    "#top tbody": "2.14 GB",
    "#upstreams tbody": "failing",
    "#machine": "141 MB",
    "#machine tbody": "near its limit",
    "#loop": "2.3 ms",
    "#drain": "serving",
    "#attention": "1 upstream failing",
}


async def test_every_section_shows_what_the_edge_says() -> None:
    async with dashboard(FakeEdge()) as page:
        for place, words in SECTIONS.items():
            await page.says(place, words)
        assert await page.run("document.querySelectorAll('.fault:not([hidden])').length") == 0


async def test_every_question_of_an_operator_has_a_place_of_its_own() -> None:
    async with dashboard(FakeEdge()) as page:
        places = ["rates", "workers", "control", "reports", "stages", "refusals", "recent", "services", "devices",
                  "lookup", "session", "evict", "top", "machine", "loop", "upstreams", "drain", "plan"]  # fmt: skip
        ids = await page.run("[...document.querySelectorAll('[id]')].map((each) => each.id)")
        assert [ids.count(each) for each in places] == [1] * len(places)
        assert await page.run("[...document.querySelectorAll('nav a')].every((a) => document.querySelector(a.hash))")


async def test_no_width_scrolls_sideways_even_with_rows_open() -> None:
    async with dashboard(FakeEdge(), height=9_000) as page:
        await page.says("#services tbody", "300 of 300")
        await page.run("document.querySelector('#services button.open').click()")
        await page.run(f"document.querySelector('#top button[aria-label=\"look up {SOURCE}\"]').click()")
        await page.says("#lookup", "6 sessions live")
        await page.run("document.querySelector('#lookup table button.open').click()")
        await page.says("#lookup .steps", "connected")
        for width in (360, 560, 768, 1010, 1250, 1280, 2200):
            await page.look(width=width, height=9_000)
            assert await page.run("document.documentElement.scrollWidth") == width
            # what a narrow window leaves out is left out whole: no table is cut at its side
            cut = "[...document.querySelectorAll('section, .scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1)"
            assert (await page.run(f"{cut}.map((e) => e.closest('section').id)"), width) == ([], width)


@pytest.mark.parametrize(("dark", "ground"), [(False, "rgb(245, 246, 247)"), (True, "rgb(16, 19, 22)")])
async def test_light_and_dark_have_their_colours_and_every_word_can_be_read(dark: bool, ground: str) -> None:
    async with dashboard(FakeEdge(), dark=dark) as page:
        await page.says("#upstreams tbody", "failing")
        await page.says("#machine tbody", "near its limit")
        assert await page.run("getComputedStyle(document.body).backgroundColor") == ground
        assert await page.run(TOO_FAINT) == []


async def test_a_hostile_name_stays_text() -> None:
    async with dashboard(FakeEdge()) as page:
        await page.says("#services tbody", HOSTILE)
        await page.says("#refusals", HOSTILE)
        await page.run("document.querySelector('#top button[data-value=service]').click()")
        await page.says("#top tbody", HOSTILE)
        await page.run(
            f"[...document.querySelectorAll('#services button.open')]"
            f".find((e) => e.innerText === {json.dumps(HOSTILE)}).click()"
        )
        await page.says("#services .service", f"{HOSTILE}-phone")
        assert await page.run("document.querySelectorAll('main img').length") == 0
        assert "shop-edge" in await page.run("document.title")


async def test_a_source_is_looked_up_and_cut_with_the_keyboard_alone() -> None:
    edge = FakeEdge()
    async with dashboard(edge) as page:
        await page.press("Tab")
        assert await page.run("document.activeElement.innerText") == "Skip to the content"
        await page.tab_to("e.id === 'wanted'")
        await page.type(SOURCE)
        await page.press("Enter")
        await page.says("#lookup", f"{SOURCE}: 6 sessions live")
        await page.tab_to("e.id === 'evict'")
        assert await page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await page.press("Enter")
        await page.says("dialog", "This cuts 6 sessions of 198.51.100.23 at once")
        assert await page.run("document.activeElement.innerText") == "Cancel"
        assert edge.evicted == []
        await page.tab_to("e.innerText === 'Cut 6 sessions'")
        await page.press("Enter")
        await page.says("dialog", "6 sessions of 198.51.100.23 cut.")
        await page.says("#announce", "6 sessions of 198.51.100.23 cut.")
        await page.press("Enter")
        await page.says("#lookup", "0 sessions live")
        assert edge.evicted == [{"source": SOURCE}]


async def test_a_cut_can_be_left_with_escape() -> None:
    edge = FakeEdge()
    async with dashboard(edge) as page:
        await page.tab_to("e.id === 'wanted'")
        await page.type("88100")
        await page.press("Enter")
        await page.says("#session", "Forward")
        await page.tab_to("e.id === 'evict'")
        await page.press("Enter")
        await page.says("dialog", "This cuts session 88100 at once: its connection is reset.")
        await page.press("Escape")
        await page.until("!document.querySelector('dialog')")
        assert await page.run("document.activeElement.id") == "evict"
        assert edge.evicted == []


async def test_a_session_that_the_edge_does_not_know_is_said_in_its_words() -> None:
    async with serving(FakeEdge()) as address, open_page(height=6_000) as page:
        await page.open(address)
        await page.until(READY)
        await page.tab_to("e.id === 'wanted'")
        await page.type("17")
        await page.press("Enter")
        await page.says("#lookup", "there is no session 17")
        assert await page.run("document.querySelector('#evict').disabled")


async def test_an_edge_that_does_not_answer_is_said_and_found_again() -> None:
    edge = FakeEdge()
    async with open_page(height=6_000) as page:
        async with serving(edge) as address:
            await page.open(address)
            await page.until(READY)
        await page.says("#line", "no answer since")
        await page.says("#announce", "The edge does not answer.")
        assert await page.run("document.body.className") == "lost"
        async with serving(edge, int(address.rpartition(":")[2])):
            await page.until(READY)
            assert await page.run("document.body.className") == ""
            await page.says("#announce", "The edge answers again.")


async def test_without_a_stream_of_events_it_asks_each_five_seconds() -> None:
    edge = FakeEdge()
    edge.streams = False
    async with serving(edge) as address, open_page() as page:
        await page.open(address)
        await page.says("#line", "asking each 5 s")
        edge.changes["/v1/statistics"] = {"phase": "draining"}
        await ask_again(page)
        await page.says("#phase", "draining")
        edge.streams = True
        await page.says("#line", "live")


async def test_the_token_is_asked_for_until_it_is_right_and_kept_for_the_tab() -> None:
    edge = FakeEdge(token="right")
    async with serving(edge) as address, open_page() as page:
        await page.open(address)
        await page.says("dialog", "This edge asks for its admin token.")
        await page.type("wrong")
        await page.press("Enter")
        await page.says("dialog", "The edge does not accept this token.")
        await page.type("right")
        await page.press("Enter")
        await page.until(READY)
        await page.open(address)
        await page.until(READY)
        assert await page.run("[localStorage.length, document.cookie]") == [0, ""]
        edge.token = "other"
        await ask_again(page)
        await page.says("dialog", "The edge does not accept this token.")


async def test_a_hidden_page_asks_nothing() -> None:
    edge = FakeEdge()
    async with dashboard(edge) as page:
        await page.says("#services tbody", "300 of 300")
        hide = "Object.defineProperty(document, 'hidden', {{configurable: true, get: () => {}}})"
        await page.run(hide.format("true"))
        await ask_again(page)
        await trio.sleep(0.1)  # answers under way are ended
        asked = len(edge.asked)
        await trio.sleep(1)
        assert len(edge.asked) == asked
        await page.run(hide.format("false"))
        await ask_again(page)
        await page.until(READY)
        while edge.asked.count("/v1/events") < 2:
            await trio.sleep(0.02)


async def test_services_are_sorted_filtered_and_turned_page_by_page() -> None:
    async with dashboard(FakeEdge()) as page:
        await page.says("#services tbody th", "atlas-eu")
        heads = "[...document.querySelectorAll('#services thead [aria-sort]')]"
        sorts = f"{heads}.map((e) => [e.innerText.split(' ')[0], e.ariaSort])"
        assert await page.run(sorts) == [["name", "none"], ["live", "descending"], ["bytes", "none"]]
        await page.run("document.querySelector('#services .sort').click()")
        await page.says("#services tbody th", HOSTILE)
        assert (await page.run(sorts))[0] == ["name", "ascending"]
        await page.run("[...document.querySelectorAll('#services button')].find((b) => b.innerText === 'Next').click()")
        await page.says("#services form", "page 2")
        await page.says("#services tbody th", "delta-us")
        await page.run("[...document.querySelectorAll('#services button')].find((b) => b.innerText === 'Back').click()")
        await page.says("#services tbody th", HOSTILE)
        await page.run("document.querySelector('#prefix').focus()")
        await page.type("kestrel")
        await page.says("#services tbody th", "kestrel-ap")
        assert await page.run("document.querySelectorAll('#services tbody tr:not(.more)').length") == 4


async def test_a_service_opens_to_its_devices_and_one_of_them_is_cut() -> None:
    edge = FakeEdge()
    async with dashboard(edge) as page:
        await page.says("#services tbody th", "atlas-eu")
        await page.run("document.querySelector('#services button.open').focus()")
        await page.press("Enter")
        await page.says("#services .service", "in grace")
        await page.tab_to("e.ariaLabel === 'cut atlas-eu-laptop'")
        await page.press("Enter")
        await page.tab_to("e.innerText.startsWith('Cut 6')")
        await page.press("Enter")
        await page.says("dialog", "6 sessions of atlas-eu-laptop cut.")
        assert edge.evicted == [{"service": "atlas-eu", "device": "atlas-eu-laptop"}]


async def test_a_point_of_a_line_is_read_with_the_arrow_keys_in_all_of_them() -> None:
    async with dashboard(FakeEdge()) as page:
        await page.run("document.querySelector('#rates svg').focus()")
        await page.press("ArrowLeft", "ArrowLeft", "Home")
        times = "[...document.querySelectorAll('#rates time')].map((e) => e.innerText)"
        first = await page.run(times)
        assert len(first) == 4
        assert len(set(first)) == 1
        assert first[0]
        said = await page.run("document.querySelector('#rates svg').getAttribute('aria-valuetext')")
        live = await page.run("document.querySelector('#rates .now b').innerText")
        assert said == f"{first[0]}: {live}"
        await page.press("Escape")
        assert await page.run(times) == [""] * 4


async def test_new_data_moves_neither_the_page_nor_the_focus() -> None:
    edge = FakeEdge()
    async with dashboard(edge, height=1_400) as page:
        await page.says("#services tbody th", "atlas-eu")
        await page.says("#attention", "1 upstream failing")
        await page.says("#recent ~ .scroll tbody", "SessionGate")
        await page.run("document.querySelectorAll('#services button.open')[3].focus()")
        focused = await page.run("document.activeElement.innerText")
        await page.run("""new PerformanceObserver((list) => {
            for (const each of list.getEntries()) window.moved = (window.moved ?? 0) + each.value;
        }).observe({type: 'layout-shift'})""")
        for _ in range(3):
            before = edge.asked.count("/v1/services")
            await ask_again(page)
            while edge.asked.count("/v1/services") == before:
                await trio.sleep(0.02)
            await page.run("new Promise((resolve) => setTimeout(resolve, 100))")  # drawn, and seen to move or not
        assert await page.run("document.activeElement.innerText") == focused
        assert await page.run("window.moved ?? 0") < 0.01


async def test_a_snapshot_is_planned_and_its_faults_are_shown() -> None:
    async with serving(FakeEdge()) as address, open_page(height=6_000) as page:
        await page.open(address)
        await page.until(READY)
        await page.run("document.querySelector('#snapshot').focus()")
        await page.type('{"version": "8", "full": true}')
        await page.run("document.querySelector('#plan .main').click()")
        await page.says("#plan pre", "1 added, 2 changed, 0 removed")
        await page.run("document.querySelector('#snapshot').focus()")
        await page.type("fault")
        await page.run("document.querySelector('#plan .main').click()")
        await page.says("#plan pre", "services.shop.session_rate: 'x' must be a number")


async def test_what_needs_attention_is_said_first() -> None:
    edge = FakeEdge()
    async with dashboard(edge) as page:
        edge.changes["/v1/state"] = {"error": "connection refused", "failing_since": 0, "report_error": "gone"}
        edge.changes["/v1/statistics"] = {"missing": [1]}
        await ask_again(page)
        await page.says("#attention", "the control plane is silent for")
        await page.says("#attention", "reports are not acknowledged")
        await page.says("#attention", "worker 1 did not answer")
        await page.says("#control", "connection refused")


WORDS = {
    "count(1234)": "1,234",
    "count(null)": "–",  # noqa: RUF001
    "bytes(0)": "0 B",
    "bytes(999)": "999 B",
    "bytes(12_340_000)": "12.3 MB",
    "rate(12_340_000)": "12.3 MB/s",
    "bytes(999_960)": "1 MB",
    "each(0.2)": "0.2",
    "each(1234.4)": "1,234",
    "micros(1.25)": "1.25 µs",
    "micros(3100)": "3.1 ms",
    "millis(800)": "800 ms",
    "percent(0.123)": "12.3 %",
    "span(0)": "0 s",
    "span(0.4)": "400 ms",
    "span(5)": "5 s",
    "span(59.6)": "1 m",
    "span(190)": "3 m 10 s",
    "span(3600)": "1 h",
    "span(273_912)": "3 d 4 h",
    "some(1, 'session')": "1 session",
    "some(1000, 'session')": "1,000 sessions",
}


async def test_numbers_are_written_for_reading() -> None:
    async with serving(FakeEdge()) as address, open_page() as page:
        await page.open(address)
        await page.run("import('/page/words.js').then((words) => void Object.assign(window, {words}))")
        assert {call: await page.run(f"words.{call}") for call in WORDS} == WORDS
