"""Chromium without a window, driven by the WebDriver protocol in plain HTTP,
on a site served from this machine.

https://www.w3.org/TR/webdriver2/: a command is a request to chromedriver, its arguments and its
answer are JSON.
"""

import base64
import functools
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "headless=new",
    "no-sandbox",
    "disable-dev-shm-usage",
    "force-color-profile=srgb",
    "disable-gpu-sandbox",
)
CAMERA = ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
PATIENCE = 120
"""Seconds that one command may take."""
READY = (
    "while (!document.body?.dataset.ready) await new Promise((done) => setTimeout(done, 50));"
    "return document.querySelector('#status').textContent;"
)


def missing() -> list[str]:
    """What the tests of the page and of Node need, and this machine lacks."""
    found = {"chromium": any(map(shutil.which, CHROMES))}
    found |= {name: bool(shutil.which(name)) for name in ("chromedriver", "npm", "node")}
    return [name for name, there in found.items() if not there]


class Browser:
    """A session of chromedriver, and the address of the site."""

    def __init__(self, driver: str, address: str) -> None:
        self._driver, self.address = driver, address

    def send(self, command: str, **arguments: Any) -> Any:
        """What chromedriver answers to a command that is posted."""
        request = urllib.request.Request(
            f"{self._driver}/{command}",
            json.dumps(arguments).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=2 * PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def open(self, path: str = "") -> str:
        """Shows a page of the site; what it says once it is ready."""
        self.send("url", url=f"{self.address}/{path}")
        return str(self.run(READY))

    def run(self, body: str, *given: Any) -> Any:
        """What the body of an async JavaScript function returns;
        its arguments are called `given`."""
        script = (
            "const given = Array.from(arguments), done = given.pop();"
            f"(async () => {{ {body} }})().then(value => done({{ value }}), error => done({{ error: String(error) }}));"
        )
        answer = self.send("execute/async", script=script, args=list(given))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("value")

    def screenshot(self, file: Path) -> None:
        """What the window shows, as a PNG file."""
        with urllib.request.urlopen(f"{self._driver}/screenshot") as answer:
            file.write_bytes(base64.b64decode(json.load(answer)["value"]))

    def resize(self, width: int, height: int) -> None:
        """The size of what the page sees, a phone's too."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=metrics)

    def prefer(self, scheme: str) -> None:
        """light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send(
            "goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": features}
        )

    def hold(self, selector: str, milliseconds: int) -> None:
        """The pointer's button goes down on an element, and up after this time,
        as a hand's does."""
        element = self.send("element", using="css selector", value=selector)
        actions = [
            {"type": "pointerMove", "origin": element, "x": 0, "y": 0},
            {"type": "pointerDown", "button": 0},
            {"type": "pause", "duration": milliseconds},
            {"type": "pointerUp", "button": 0},
        ]
        self.send("actions", actions=[{"type": "pointer", "id": "mouse", "actions": actions}])

    def press(self, key: str) -> None:
        """A key, where the focus is."""
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self.send("actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def browsing(site: Path, *flags: str) -> Iterator[Browser]:
    """A browser on `site`, both gone afterwards; `flags` are Chromium's."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        chrome = next(filter(None, map(shutil.which, CHROMES)))
        options = {"binary": chrome, "args": [f"--{flag}" for flag in (*FLAGS, *flags)]}
        browser = Browser(
            f"http://127.0.0.1:{port}", f"http://127.0.0.1:{server.server_address[1]}"
        )
        wanted = {
            "alwaysMatch": {"goog:chromeOptions": options, "timeouts": {"script": 1000 * PATIENCE}}
        }
        session = _patient(lambda: browser.send("session", capabilities=wanted))["sessionId"]
        browser = Browser(f"http://127.0.0.1:{port}/session/{session}", browser.address)
        try:
            yield browser
        finally:
            urllib.request.urlopen(urllib.request.Request(browser._driver, method="DELETE")).close()
    finally:
        driver.terminate()
        driver.wait()
        server.shutdown()
        server.server_close()


def _patient(start: Any) -> Any:
    """chromedriver listens a moment after it was started."""
    for _ in range(100):
        try:
            return start()
        except urllib.error.URLError:
            time.sleep(0.1)
    return start()
