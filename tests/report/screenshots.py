"""`make screenshots`: the report's page as a browser shows it, at two widths, in the light and in the dark, for a person to look at.

Needs Chromium on PATH, which no test does. A phone's width stands in a frame, because a window of Chromium is never that narrow.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

from tests.report.plans import report

from skyc.compiler.report import compose, render_html

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (360, 1280)
HEIGHT = 3600
DARK = "--blink-settings=preferredColorScheme=0"


def main(folder: Path) -> int:
    browser = next((found for name in NAMES if (found := shutil.which(name))), None)
    if browser is None:
        print(f"screenshots need one of {', '.join(NAMES)} on PATH; nothing was made", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "plan.html"
    # Open, so that all of it is seen.
    page.write_text(render_html(compose(report())).replace("<details>", "<details open>"), encoding="utf-8")
    for width, dark in product(WIDTHS, (False, True)):
        frame = folder / "frame.html"
        frame.write_text(
            f'<body style="margin:0"><iframe src="plan.html" style="border:0;width:{width}px;height:{HEIGHT}px"></iframe>'
        )
        picture = folder / f"{width}-{'dark' if dark else 'light'}.png"
        with tempfile.TemporaryDirectory() as profile:
            options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
            options += [f"--window-size={max(width, 500)},{HEIGHT}", f"--screenshot={picture}", *([DARK] if dark else [])]
            subprocess.run([browser, *options, frame.as_uri()], check=True, capture_output=True, timeout=120)
        frame.unlink()
        print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path("build/screenshots").resolve()))
