"""A headless Chromium to look at pages with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def shown(page: str, folder: Path, width: int = 800) -> str:
    """What a real browser has made of a page, its scripts run."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8", errors="backslashreplace")
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=2000"]
    command += [f"--window-size={width},900"]
    done = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert "</html>" in done.stdout, done.stderr
    return done.stdout
