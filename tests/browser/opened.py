"""A page of the report in a real browser, without a network, every request and message noted."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Dialog, Page, sync_playwright

HOW_TO_INSTALL = (
    "There is no Chromium: install it (apt-get install chromium, or playwright install chromium) and put it on the "
    "PATH, or name it in the environment variable CHROMIUM."
)
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
DARK: dict[str, Any] = DESK | {"color_scheme": "dark"}


class Opened(NamedTuple):
    """The page, and what it has asked for and complained of so far, the page itself left out."""

    page: Page
    requests: list[str]
    messages: list[str]


def chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert found, HOW_TO_INSTALL
    return found


@contextmanager
def started() -> Iterator[Browser]:
    """One at a time: a second would find the first one's loop running."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser,
    path: Path,
    *,
    before: str = "",
    **how: Any,  # noqa: ANN401  (whatever a context takes)
) -> Iterator[Opened]:
    """`before` is a script that runs ahead of the page's own."""
    context = browser.new_context(offline=True, **how)
    context.add_init_script(before)
    page = context.new_page()
    requests: list[str] = []
    messages: list[str] = []

    def refuse(dialog: Dialog) -> None:
        messages.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("request", lambda one: requests.append(one.url) if one.url != path.as_uri() else None)
    page.on("console", lambda one: messages.append(one.text))
    page.on("pageerror", lambda one: messages.append(str(one)))
    page.on("dialog", refuse)
    page.goto(path.as_uri())
    yield Opened(page, requests, messages)
    context.close()


def drawn(page: Page, figure: str) -> None:
    """Scroll to a chart and wait until it is drawn."""
    page.evaluate("id => document.getElementById(id).closest('section').scrollIntoView()", figure)
    page.wait_for_selector(f"[id='{figure}'][data-drawn]")
    page.evaluate("id => document.getElementById(id).scrollIntoView()", figure)
