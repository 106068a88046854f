"""Which browser the browser tests drive. As a program: prints its path, fails when there is none (for the Makefile)."""

import shutil
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)


def installed():
    """The path of a Chromium on this machine, or None. One that playwright downloaded is looked for last."""
    places = [shutil.which(name) for name in NAMES] + [place for place in ELSEWHERE if Path(place).is_file()]
    return next(filter(None, places), None) or _playwrights_own()


def _playwrights_own():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


if __name__ == "__main__":
    found = installed()
    print(found or "There is no Chromium on this machine.")
    sys.exit(found is None)
