"""onnxruntime-web in headless Chromium, and the page of `camport web` in it: a server,
a driven browser, numbers."""

import base64
import contextlib
import functools
import http.server
import json
import posixpath
import shutil
import threading
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "browser" / "node_modules" / "onnxruntime-web"
CHROMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 300
"""Seconds one script may take."""

Arrays = Mapping[str, np.ndarray]


class AbsentError(Exception):
    """An engine that is not installed; the message says how to install it."""


class Browser:
    """Chromium without a window, on a server of this repository;
    `files` is its folder for what is exchanged.

    Raises:
        AbsentError: selenium, Chromium, its driver or onnxruntime-web is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.files = folder
        chrome = next(filter(None, map(shutil.which, CHROMES)), None)
        driver = shutil.which("chromedriver")
        if not chrome or not driver:
            raise AbsentError("Chromium and its driver: apt-get install chromium chromium-driver")
        if not PACKAGE.is_dir():
            raise AbsentError("npm install --prefix examples/browser")
        try:
            from selenium import webdriver
        except ImportError:
            raise AbsentError('pip install "camport[engines]"') from None
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(_Handler, folder)
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        options = webdriver.ChromeOptions()
        options.binary_location = chrome
        for flag in (
            "headless=new",
            "no-sandbox",
            "disable-dev-shm-usage",
            "force-color-profile=srgb",
        ):
            options.add_argument(f"--{flag}")
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(driver))
        self.driver.set_script_timeout(PATIENCE)
        self.driver.set_window_size(1100, 800)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.open("benchmarks/engines/engines.js")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(Exception):
            self.driver.quit()
        self._server.shutdown()
        self._server.server_close()

    @property
    def version(self) -> str:
        """Of onnxruntime-web and of the browser."""
        package = json.loads((PACKAGE / "package.json").read_text(encoding="utf-8"))
        browser = self.driver.capabilities["browserVersion"].split(".")[0]
        return f"{package['version']}, Chromium {browser}"

    def open(self, path: str) -> None:
        """Shows a file of this repository."""
        self.driver.get(f"{self.address}/{path}")

    def call(self, body: str, *arguments: Any) -> Any:
        """What the body of an async JavaScript function returns;
        its arguments are called `given`."""
        answer = self.driver.execute_async_script(
            "const given = Array.from(arguments), done = given.pop();"
            f"(async () => {{ {body} }})().then(value => done({{ value }}), "
            "error => done({ error: String(error?.stack ?? error) }));",
            *arguments,
        )
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("value")

    def share(self, path: Path) -> str:
        """The address of a file, which is copied to the folder where it is not there."""
        if path.parent != self.files:
            shutil.copy(path, self.files)
        return f"/files/{path.name}"

    def put(self, feeds: Arrays) -> dict[str, dict[str, Any]]:
        """Arrays as files that the page reads."""
        described = {}
        for name, array in feeds.items():
            file = self.files / f"{name}.bin"
            np.ascontiguousarray(array).tofile(file)
            described[name] = {
                "type": array.dtype.name,
                "dims": array.shape,
                "file": self.share(file),
            }
        return described


def decode(value: Mapping[str, Any]) -> np.ndarray:
    """An array of what `base64` in engines.js made of it."""
    return np.frombuffer(base64.b64decode(value["base64"]), value["type"]).reshape(value["dims"])


class _Handler(http.server.SimpleHTTPRequestHandler):
    """The repository's files; below /files those of the exchange folder.
    Nothing is logged or kept by the browser."""

    def __init__(self, folder: Path, *arguments: Any) -> None:
        self.folder = folder
        self.extensions_map = {**self.extensions_map, ".mjs": "text/javascript"}
        super().__init__(*arguments, directory=str(ROOT))

    def translate_path(self, path: str) -> str:
        if path.startswith("/files/"):
            return str(
                self.folder
                / posixpath.normpath(urllib.parse.urlsplit(path).path).removeprefix("/files/")
            )
        return super().translate_path(path)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass
