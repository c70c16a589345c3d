"""Take the pictures of the guide's page on the dashboard: ``python -m tests.support.dashboard_pictures``."""

from pathlib import Path

import trio

from tests.support.browser import Page, open_page
from tests.support.paged_edge import FakeEdge, serving

ASSETS = Path(__file__).parents[2] / "docs/assets"
SIZES = {"desktop": (1280, 920), "phone": (390, 844)}


async def first_look(page: Page) -> None:
    """Show the head of the page, and a point that is read."""
    await page.says("#recent ~ .scroll tbody", "rate")
    await page.says("#attention", "1 upstream failing")
    await page.says("#attention", "devices")
    await page.run("scrollTo(0, 0)")


async def lookup(page: Page) -> None:
    """Show one source, with the steps of its latest refusal."""
    await page.run("document.querySelector('#wanted').value = '198.51.100.23'")
    await page.run("document.querySelector('#lookup .main').click()")
    await page.says("#lookup", "6 sessions live")
    await page.run("[...document.querySelectorAll('#lookup .scroll')].at(-1).querySelector('button.open').click()")
    await page.says("#lookup .steps", "more than 50 sessions a second")


async def main() -> None:
    """Write each picture, light and dark."""
    async with serving(FakeEdge(odd="ember-eu")) as address, open_page() as page:
        for name, (width, height) in SIZES.items():
            for dark in (False, True):
                mode = "dark" if dark else "light"
                await page.look(width=width, height=6_000, dark=dark)
                await page.open(address)
                await page.says("#line", "live")
                await first_look(page)
                await page.look(width=width, height=height, dark=dark)
                await page.picture(ASSETS / f"dashboard-{name}-{mode}.webp", whole=False)
                if name == "desktop":
                    await page.look(width=width, height=6_000, dark=dark)
                    await lookup(page)
                    await page.look(width=width, height=760, dark=dark)
                    await page.run("document.querySelector('#lookup').scrollIntoView()")
                    await page.picture(ASSETS / f"dashboard-lookup-{mode}.webp", whole=False)


if __name__ == "__main__":
    trio.run(main)
