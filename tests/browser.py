"""A headless Chromium for tests that look at the pages as people do."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

if TYPE_CHECKING:
    from ris.accounts.models import User

#: Where the run leaves its pictures; not part of the repository.
SCREENSHOTS = Path(__file__).resolve().parent.parent / "screenshots"
_WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
OpenAs = Callable[..., Page]
# Generous, because a test worker beside this one may have the machine to itself for seconds.
expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    # Playwright keeps an event loop in this thread; the ORM calls of the tests are plain ones all the same.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--font-render-hinting=none"],
        )
        yield browser
        browser.close()
        # Still beside the event loop, whose connection would keep the test database from going.
        connections.close_all()


@pytest.fixture
def context(chromium: Browser, live_server: object) -> Iterator[BrowserContext]:
    # axe is put into the page, which the page's own content policy would refuse.
    made = chromium.new_context(
        base_url=str(live_server), viewport={"width": 1440, "height": 900}, bypass_csp=True, locale="en-GB"
    )
    made.set_default_timeout(15_000)
    yield made
    made.close()


@pytest.fixture
def open_as(context: BrowserContext, live_server: object) -> OpenAs:
    """`open_as(user, "/board", theme="reading")`: the page as `user` sees it."""

    def open_page(user: "User | None", path: str, *, theme: str = "") -> Page:
        cookies = {"theme": theme} if theme else {}
        if user is not None:
            client = Client()
            client.force_login(user)
            cookies[settings.SESSION_COOKIE_NAME] = client.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies(
            [{"name": name, "value": value, "url": str(live_server)} for name, value in cookies.items()]
        )
        page = context.new_page()
        page.goto(path)
        return page

    return open_page


def scan(page: Page, text: str, *, enter: bool = False) -> None:
    """Keys as a scanner sends them: one after the other without a pause, however busy this machine is."""
    page.evaluate(
        """([text, enter]) => {
            const keys = enter ? [...text, "Enter"] : [...text];
            for (const key of keys)
                document.activeElement.dispatchEvent(
                    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
        }""",
        [text, enter],
    )


def accessibility_faults(page: Page, *, colours: bool = False) -> list[str]:
    """What axe finds against WCAG 2.2 A and AA, or only of its colours: one line a place."""
    only = {"type": "rule", "values": ["color-contrast"]} if colours else {"type": "tag", "values": _WCAG}
    found = Axe().run(page, options={"runOnly": only})
    return [
        f"{fault['id']}: {node['target']} {node['html'][:120]}"
        for fault in found.response["violations"]
        for node in fault["nodes"]
    ]


def faults_in_both_themes(page: Page, name: str) -> list[str]:
    """A picture in each theme, and what axe finds; the second differs from the first in its colours alone."""
    photograph(page, f"{name}-light")
    faults = accessibility_faults(page)
    theme = page.evaluate("document.documentElement.dataset.theme")
    assert theme == "light", "a page is looked at in the light theme first"
    page.evaluate("document.documentElement.dataset.theme = 'reading'")
    photograph(page, f"{name}-reading")
    faults += accessibility_faults(page, colours=True)
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    return faults


def photograph(page: Page, name: str) -> Path:
    SCREENSHOTS.mkdir(exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path)
    return path
