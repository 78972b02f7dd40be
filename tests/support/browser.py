"""A real browser for the tests of the page: headless Chromium, driven by Playwright. Without one they are skipped, but not in CI."""

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# No sandbox, so that it starts as root in a container; nothing that would use the network by itself.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

try:
    from axe_playwright_python.sync_playwright import Axe  # noqa: F401 (for those who import this)
    from playwright.sync_api import expect, sync_playwright  # noqa: F401
except ImportError:
    CHROMIUM = None

if CHROMIUM is None:
    if os.environ.get("CI"):
        raise RuntimeError(
            "CI must test the report in a browser: install chromium, playwright and axe-playwright-python"
        )
    pytest.skip("needs chromium, playwright and axe-playwright-python", allow_module_level=True)
