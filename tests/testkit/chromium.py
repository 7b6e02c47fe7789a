"""A headless Chromium that tests drive, and what they look for on the dashboard. Every wait is for a condition."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from testkit.server import unavailable
from testkit.waiting import wait_blocking

WAIT_SECONDS = 40.0
PACE_SECONDS = 0.1
"""Between two looks, each of which goes through two other processes."""
_CALLED = """return [...document.querySelectorAll("button, a")].filter((e) => (e.ariaLabel || e.innerText).trim() === arguments[0])"""
"""All that may have a name: asking each element of a page for it takes a message each."""
_PASSING = (NoSuchElementException, StaleElementReferenceException)


class Browser:
    """One tab on a dashboard."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    def go(self, view: str = "") -> None:
        """Opens a view, such as ``fleet``; only the first one loads the page."""
        self.driver.get(f"{self.url}#/{view}")

    def sign_in(self, key: str) -> None:
        self.go()
        self.element("#key").send_keys(key, Keys.ENTER)
        self.until(lambda: self.texts("nav a"), "signed in")

    def element(self, css: str) -> WebElement:
        """The first one, once there is one."""
        self.until(lambda: bool(self.driver.find_elements(By.CSS_SELECTOR, css)), css)
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def texts(self, css: str) -> list[str]:
        return [element.text for element in self.driver.find_elements(By.CSS_SELECTOR, css)]

    def press(self, name: str) -> None:
        """Presses the button, or follows the link, of this name."""

        def pressed() -> bool:
            found = [e for e in self.driver.execute_script(_CALLED, name) if e.accessible_name == name]
            if found:
                found[-1].click()
            return bool(found)

        self.until(pressed, f"a button or link {name!r}")

    def shows(self, *texts: str) -> None:
        """Waits until the page shows all of them."""
        self.until(lambda: all(text in self.text for text in texts), f"{texts} in {self.text!r}")

    @property
    def text(self) -> str:
        """What a person reads."""
        return str(self.driver.execute_script("return document.body.innerText.replaceAll('\\t', ' ')"))

    @property
    def focused(self) -> str:
        """The name of what has the focus."""
        active = self.driver.switch_to.active_element
        return active.accessible_name or active.text or active.tag_name

    def type(self, *keys: str) -> None:
        """Into whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def until(self, predicate: Callable[[], bool | list[str]], what: str) -> None:
        def holds() -> bool:
            try:
                return bool(predicate())
            except _PASSING:
                return False

        wait_blocking(holds, WAIT_SECONDS, what, PACE_SECONDS)

    def complaints(self) -> list[str]:
        """What the console says is wrong: what the page's policy kept out, and faults of its code; refused calls are none."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]
        return [message for message in said if "Failed to load resource" not in message]


@contextmanager
def running_chromium(folder: Path, *options: str) -> Iterator[Chrome]:
    """Starts one, with its profile in the folder; skips the test where there is none, and fails it where CI=true."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        unavailable("chromium with chromedriver")
    chosen = ChromeOptions()
    chosen.binary_location = program
    chosen.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for option in (
        *(
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
        ),
        *("--window-size=1280,1000", f"--user-data-dir={folder / 'chromium'}", "--lang=en", *options),
    ):
        chosen.add_argument(option)
    started = Chrome(options=chosen, service=ChromeService(executable_path=driver))
    try:
        yield started
    finally:
        started.quit()


@contextmanager
def tab(driver: Chrome, url: str) -> Iterator[Browser]:
    """A tab on a dashboard in a Chromium that others had before: nothing that they stored, set or provoked is left."""
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")  # with a session storage and emulated media of its own
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": url.rstrip("/"), "storageTypes": "all"})
    page = Browser(driver, url)
    page.complaints()
    try:
        yield page
    finally:
        driver.close()
        driver.switch_to.window(first)
