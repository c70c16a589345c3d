"""Chromium without a window, driven over a pipe by its DevTools protocol."""

import base64
import itertools
import json
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

PATIENCE = 30
"""Seconds after which a test has failed; no test comes near."""

KEYS = {"Enter": ("\r", 13), "Tab": ("", 9), "Escape": ("", 27), "ArrowLeft": ("", 37), "Home": ("", 36)}
"""Keys that tests press, each with the text that it types, and with its number."""

COMMAND = (
    "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-component-update", "--disable-background-networking", "--disable-sync",
    "--hide-scrollbars", "--force-color-profile=srgb", "--font-render-hinting=none", "--remote-debugging-pipe",
)  # fmt: skip


class Page:
    """A page in the browser, with the requests that it sent, the words of its console, and what a reader does."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._session: str | None = None
        self.requests: list[str] = []
        self.console: list[str] = []

    async def listen(self) -> None:
        """Read what the browser says, until it ends."""
        assert self._process.stdout is not None
        text = b""
        async for chunk in self._process.stdout:
            *messages, text = (text + chunk).split(b"\0")
            for message in messages:
                self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers.pop(message["id"]).send_nowait(message)
            return
        parameters = message["params"]
        match message["method"]:
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Runtime.exceptionThrown":
                self.console.append(json.dumps(parameters["exceptionDetails"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                self.console.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.console.append(json.dumps(parameters["args"]))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and give its result."""
        assert self._process.stdin is not None
        number = next(self._numbers)
        send_channel, receive_channel = trio.open_memory_channel[dict[str, Any]](1)
        self._answers[number] = send_channel
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._process.stdin.send_all(json.dumps(message).encode() + b"\0")
        with trio.fail_after(PATIENCE):
            answer = await receive_channel.receive()
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    async def attach(self) -> None:
        """Open an empty page and listen to it."""
        target = await self.call("Target.createTarget", url="about:blank")
        self._session = (await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True))[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")

    async def look(self, *, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1) -> None:
        """Set the size of the window, and whether its reader likes it dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        await self.call(
            "Emulation.setEmulatedMedia",
            features=[
                {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ],
        )

    async def open(self, address: str) -> None:
        """Go to an address."""
        await self.call("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def run(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, and give its value; a promise is awaited."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until JavaScript gives something true."""
        with trio.move_on_after(PATIENCE):
            while not await self.run(f"Boolean({expression})"):
                await trio.sleep(0.02)
            return
        raise AssertionError(f"never true: {expression}\n{await self.run('document.body.innerText')}")

    async def text(self, selector: str) -> str:
        """Give the text of an element as it is seen."""
        return str(await self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def says(self, selector: str, words: str) -> None:
        """Wait until the text of an element has some words."""
        await self.until(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(words)})")

    async def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            typed, number = KEYS[key]
            event = {"key": key, "code": key, "windowsVirtualKeyCode": number}
            await self.call("Input.dispatchKeyEvent", type="keyDown", text=typed, **event)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    async def type(self, text: str) -> None:
        """Type a text."""
        await self.call("Input.insertText", text=text)

    async def tab_to(self, expression: str) -> None:
        """Press Tab until JavaScript finds what it wants in the element that has the focus, ``e``."""
        for _ in range(300):
            await self.press("Tab")
            if await self.run(f"((e) => {expression})(document.activeElement)"):
                return
        raise AssertionError(f"no key leads to {expression}")

    async def picture(self, path: Path, *, whole: bool = True) -> None:
        """Take a picture of the page, the whole of it or what the window shows, as PNG or WebP by the file's name."""
        form = {"format": path.suffix[1:], **({"quality": 82} if path.suffix == ".webp" else {})}
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=whole, **form)
        await trio.Path(path).write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def open_page(**look: Any) -> AsyncIterator[Page]:
    """Give an empty page of a browser of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        command = ["sh", "-c", 'exec "$@" 3<&0 4>&1 0</dev/null 1>&2', "sh", *COMMAND, f"--user-data-dir={home}"]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        page = Page(process)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(page.listen)
                await page.attach()
                await page.look(**look)
                yield page
                nursery.cancel_scope.cancel()
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()
