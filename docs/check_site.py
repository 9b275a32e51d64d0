"""
Check the built site: ``python docs/check_site.py build/site``.

Without a browser, it checks that the links inside the site lead to pages and to headings, and that no page loads a
script, a style, a font or a picture from another host. With Chromium, it opens pages on a wide and on a narrow window,
light and dark: no message of an error, no request to another host, formulas drawn, no page wider than its window, and
the search finds "Conv2D".
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from urllib.parse import unquote, urlsplit

PAGES = [
    "index.html",
    "learn/linear.html",
    "examples/index.html",
    "examples/pictures/autoencoder.html",
    "reference/generated/portanet.LSTM.html",
    "results/numbers.html",
    "results/reports/004.html",
]
WINDOWS = {"wide": (1300, 900), "phone": (390, 844)}
THEMES = {"light": "1", "dark": "0"}
"""Themes, and Chromium's numbers for them."""
LOADED = {"script": "src", "img": "src", "source": "srcset", "iframe": "src", "link": "href"}
"""Elements that load a file, and the attribute that names it."""
NOTICE = re.compile(r"\[PST\]|Got invalid theme mode: \.")
"""What the theme tells the console on a first visit."""
MEASURE = """<script>addEventListener("load", () => setTimeout(() => {
  const page = document.documentElement;
  page.dataset.tooWide = page.scrollWidth - page.clientWidth;
  page.dataset.undrawn = [...document.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container")).length;
}, 3000))</script></body>"""
"""Added to each page that the browser opens: it writes what it measures into the document."""


class Page(HTMLParser):
    """The anchors, the links and the loaded files of a page."""

    def __init__(self, text: str) -> None:
        """Read the HTML of a page."""
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what an element names."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        is_loaded = tag != "link" or values.get("rel") in ("stylesheet", "icon", "preload")
        if is_loaded and values.get(LOADED.get(tag, ""), ""):
            self.loaded.append(values[LOADED[tag]])


def is_elsewhere(link: str) -> bool:
    """Whether a link leaves the site."""
    return bool(urlsplit(link).netloc or urlsplit(link).scheme)


def faults_of_files(site: Path) -> Iterator[str]:
    """Yield what is wrong in the files: links that lead nowhere, and what is loaded from another host."""
    pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if "_static" not in path.parts
    }
    for path, page in pages.items():
        here = path.relative_to(site)
        yield from (
            f"{here} loads {link}" for link in page.loaded if is_elsewhere(link) and not link.startswith("data:")
        )
        for link in page.links:
            if is_elsewhere(link):
                continue
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{here} links to {link}, which does not exist"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{here} links to {link}, which has no such heading"
    for path in site.rglob("*.css"):
        for address in re.findall(r"url\(\s*['\"]?(https?://[^)'\"]+)", path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)} loads {address}"


class Handler(SimpleHTTPRequestHandler):
    """Serves the site, with the measuring script in each page."""

    def send_head(self):  # type: ignore[no-untyped-def] # as in the base
        """Add the script to a page."""
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html" or not path.is_file():
            return super().send_head()
        content = path.read_bytes().replace(b"</body>", MEASURE.encode())
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None

    def log_message(self, *args: object) -> None:
        """Print nothing."""


def opened(browser: str, address: str, size: tuple[int, int], theme: str) -> tuple[str, str]:
    """Open a page, and return the document as it is after some seconds, and the messages of the console."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"),
            *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-background-networking"),
            *("--enable-logging=stderr", "--log-level=0", "--virtual-time-budget=10000"),
            *(f"--window-size={size[0]},{size[1]}", f"--blink-settings=preferredColorScheme={THEMES[theme]}"),
            *("--dump-dom", address),
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    messages = [line for line in result.stderr.splitlines() if ":CONSOLE" in line and not NOTICE.search(line)]
    return result.stdout, "\n".join(messages)


def faults_in_browser(site: Path, browser: str) -> Iterator[str]:
    """Yield what is wrong when pages are opened."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}"
    for page, window, theme in product(PAGES, WINDOWS, THEMES):
        document, messages = opened(browser, f"{root}/{page}", WINDOWS[window], theme)
        name = f"{page} ({window}, {theme})"
        if messages:
            yield f"{name}: {messages}"
        if f'data-theme="{theme}"' not in document:
            yield f"{name} is not {theme}"
        for measure in ("too-wide", "undrawn"):
            found = re.search(rf'data-{measure}="(-?\d+)"', document)
            if found is None or found[1] != "0":
                yield f"{name}: {measure} is {found and found[1]}, not 0"
    document, messages = opened(browser, f"{root}/search.html?q=Conv2D", WINDOWS["wide"], "light")
    if messages:
        yield f"search: {messages}"
    if "portanet.Conv2D.html" not in document:
        yield "the search does not find Conv2D"
    server.shutdown()


def main() -> int:
    """Check, print what is wrong, and return the exit code."""
    parser = argparse.ArgumentParser(description="Check the built site.")
    parser.add_argument("site", type=Path, help="folder of the site, such as build/site")
    site = parser.parse_args().site.resolve()
    if not (site / "index.html").is_file():
        parser.error(f"{site} has no index.html: build the site first, with tox -e docs")
    faults = list(faults_of_files(site))
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("No Chromium here: the pages were not opened.")
    else:
        faults += faults_in_browser(site, browser)
    print("\n".join(faults) or "The site has no fault.")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
