"""Chromium for tests, over its own pipe: no package, no port, no driver to download.

Chromium started with ``--remote-debugging-pipe`` reads commands of the DevTools protocol from file descriptor 3 and writes answers and events to 4,
JSON with a zero byte after each. A :class:`Page` has what the tests of the report need: open a file, evaluate, press, click, and what the console and
the network said meanwhile.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
#: Resolves to whether a condition came true within 120 frames.
LOOK = """new Promise((done) => {
  const look = (left) => (%s) ? done(true) : left ? requestAnimationFrame(() => look(left - 1)) : done(false);
  look(120);
})"""
WAIT_S = 60.0  # a loaded machine starts Chromium in ten


def find() -> str | None:
    """The program, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), MAC if os.path.exists(MAC) else None)


class Browser:
    """A running Chromium; a context manager."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="netlens-chromium-")
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # a shell puts the pipes on 3 and 4: Python's subprocess cannot number them
        script = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run",
                   "--disable-background-networking", "--hide-scrollbars", "--force-color-profile=srgb", f"--user-data-dir={self._profile}"]  # fmt: skip
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", program, *options, "about:blank"],
            pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": self._profile},  # its shared memory lies there, and it ends where it cannot write
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._rest, self._number = b"", 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.call("Browser.close")
        except (OSError, RuntimeError):
            self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """A command's result; events that come meanwhile are kept."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + WAIT_S
        while True:
            answer = self.next(until - time.monotonic())
            if answer is None:
                raise RuntimeError(f"Chromium did not answer {method} within {WAIT_S:.0f} s")
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]  # type: ignore[no-any-return]
            self.events.append(answer)

    def next(self, wait_s: float) -> dict[str, Any] | None:
        """The next message, or None if none comes in time."""
        until = time.monotonic() + wait_s
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return None
            data = os.read(self._from, 1 << 20)
            if not data:
                raise RuntimeError("Chromium ended")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    def page(self, width: int = 1280, height: int = 900, *, dark: bool = False, touch: bool = False) -> Page:
        return Page(self, width, height, dark=dark, touch=touch)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, width: int, height: int, *, dark: bool, touch: bool) -> None:
        self.browser, self._seen = browser, len(browser.events)
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        if touch:
            self.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def open(self, path: Path) -> None:
        """Open a report and wait until its script has drawn it."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.documentElement?.dataset.ready === 'true'")

    def wait(self, condition: str) -> None:
        """Until a JavaScript condition holds, asked once a frame in the page; a navigation on the way starts it anew."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            try:
                if self.run(LOOK % condition):
                    return
            except RuntimeError as error:
                if "navigat" not in str(error) and "context" not in str(error).lower():
                    raise
        raise RuntimeError(f"never came true: {condition}")

    def run(self, script: str) -> Any:
        """The value of an expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails'].get('exception', answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def frame(self) -> None:
        """Until two frames have been drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)
        self.frame()

    def press(self, key: str) -> None:
        more = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.frame()

    def picture(self, path: Path, *, whole: bool = False) -> None:
        params: dict[str, Any] = {"captureBeyondViewport": whole}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            params["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **params)["data"]))

    def pdf(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]))

    def _mine(self) -> list[dict[str, Any]]:
        self.call("Runtime.evaluate", expression="1")  # what was sent before has then arrived
        return [e for e in self.browser.events if e.get("sessionId") == self.session]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and violations of the policy."""
        said = []
        for e in self._mine():
            p = e["params"]
            if e["method"] == "Runtime.exceptionThrown":
                said.append(str(p["exceptionDetails"].get("exception", {}).get("description", p["exceptionDetails"]["text"])))
            elif e["method"] == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"):
                said.append(str(p["args"]))
            elif e["method"] == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
                said.append(p["entry"]["text"])
        return said

    def requests(self) -> list[str]:
        """URLs that were asked for."""
        return [e["params"]["request"]["url"] for e in self._mine() if e["method"] == "Network.requestWillBeSent"]

    def dialogs(self) -> int:
        return sum(e["method"] == "Page.javascriptDialogOpening" for e in self._mine())


# --- what tests of the report do with a page


def opened(chromium: Browser, path: Path, **how: Any) -> Page:
    page = chromium.page(**how)
    page.open(path)
    page.frame()
    return page


def middle(page: Page, expression: str) -> tuple[float, float]:
    """The middle of an element, scrolled into view."""
    page.run(f"({expression}).scrollIntoView({{behavior: 'instant', block: 'center'}})")
    page.frame()
    box = page.run(
        f"(() => {{ const b = ({expression}).getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; }})()"
    )
    return box[0], box[1]


def place_of(page: Page, bar: int) -> tuple[float, float]:
    """The middle of a bar on the screen."""
    page.run(f"groups[model.bars.group[{bar}]].canvas.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    page.frame()
    x, y = page.run(
        f"""(() => {{
          const group = groups[model.bars.group[{bar}]], box = group.canvas.getBoundingClientRect();
          const drawn = group.drawn.find((each) => each.bar === {bar});
          return [box.left + (drawn.left + drawn.right) / 2, box.top + (drawn.top + drawn.bottom) / 2];
        }})()"""
    )
    return x, y


def pixel(page: Page, bar: int) -> list[int]:
    """The colour just inside a bar's upper left corner."""
    return page.run(  # type: ignore[no-any-return]
        f"""(() => {{
          const group = groups[model.bars.group[{bar}]], drawn = group.drawn.find((each) => each.bar === {bar});
          return [...group.canvas.getContext('2d').getImageData(Math.round(drawn.left) + 2, drawn.top + 2, 1, 1).data];
        }})()"""
    )
