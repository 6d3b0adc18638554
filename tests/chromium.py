"""A real browser for tests: headless Chromium, driven by Selenium, that tells what it requested."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Chromium does things of its own; none of them must reach the network.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,900",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 20.0


class Browser:
    """A page in Chromium, with shorthands for what the tests do to it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, place: str = "") -> None:
        """Open a report at a place within it, from nothing, and wait until it is drawn."""
        self.driver.get("about:blank")
        self.driver.get(f"{path.resolve().as_uri()}#{place}")
        self.wait(lambda: self.js("return document.documentElement.dataset.ready"))

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Wait until a condition holds; return its value."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"this did not come about: {self.place}")

    @property
    def place(self) -> str:
        """The part of the address behind the '#'."""
        return str(self.js("return location.hash.slice(1)"))

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def one(self, selector: str, text: str = "") -> Any:
        """Return the first element that a selector finds and whose text has the given one."""
        return self.wait(lambda: next((e for e in self.all(selector) if text in e.text), None))

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return list(self.js(script, selector))

    def press(self, *keys: str) -> None:
        """Press keys, on whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def box(self, title: str) -> Any:
        """Return a box of the drawing by the first line of its text."""
        script = (
            "return [...document.querySelectorAll('.box')].find((b) => b.querySelector('.first').textContent"
            " === arguments[0])"
        )
        return self.wait(lambda: self.js(script, title))

    def click_box(self, title: str) -> None:
        self.js("arguments[0].dispatchEvent(new MouseEvent('click', { bubbles: true }))", self.box(title))

    def open_box(self, title: str) -> None:
        self.js("arguments[0].dispatchEvent(new MouseEvent('dblclick', { bubbles: true }))", self.box(title))

    def complaints(self) -> list[str]:
        """Return what the console says, and every request that goes to a network."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        # Chromium's own pages load what is built into it.
        return said + [u for u in urls if u.startswith(("http", "ws", "ftp"))]


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start Chromium with a fresh profile in `folder`; skip the test where it is not installed."""
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    service = pytest.importorskip("selenium.webdriver.chrome.service", reason="needs selenium")
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver_path = shutil.which("chromedriver")
    if binary is None or driver_path is None:
        pytest.skip("needs chromium and chromedriver")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=service.Service(driver_path))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
