"""Print the built book into one PDF, by the machine's own Chromium: ``make pdf``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import yaml
from playwright.sync_api import Browser, sync_playwright
from pypdf import PdfReader, PdfWriter

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
READY = """async () => {
  await window.MathJax?.startup?.promise;
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map(image => image.decode().catch(() => 0)));
  await document.fonts.ready;
  for (const link of document.querySelectorAll("a[href]")) {
    const elsewhere = link.protocol === "file:" && link.pathname !== location.pathname;
    if (elsewhere || link.protocol === "data:") link.removeAttribute("href");  // none in a PDF
  }
  return true;
}"""


def chapters(toc: Path) -> list[str]:
    """Return the pages of the book in their order, the listing of the package left out."""
    read = yaml.safe_load(toc.read_text(encoding="utf8"))
    files = [chapter["file"] for part in read["parts"] for chapter in part["chapters"]]
    return [read["root"], *(name for name in files if not name.startswith("api"))]


def print_pages(browser: Browser, html: Path, names: Sequence[str], target: Path) -> None:
    """Print pages into one PDF with an outline.

    Args:
        browser: A Chromium.
        html: Folder of the built pages.
        names: Of pages, without suffix.
        target: The PDF.

    Raises:
        FileNotFoundError: If a page is not built.
    """
    if missing := [name for name in names if not (html / f"{name}.html").is_file()]:
        raise FileNotFoundError(f"{', '.join(missing)} not in {html}: run `make book`")
    book, page = PdfWriter(), browser.new_page()
    page.emulate_media(media="print", color_scheme="light")
    for name in names:
        page.goto((html / f"{name}.html").as_uri())
        page.wait_for_function(READY)
        printed = page.pdf(
            format="A4",
            margin={"top": "16mm", "bottom": "16mm", "left": "16mm", "right": "16mm"},
            print_background=True,
        )
        title = page.locator("h1").first.inner_text().rstrip("#¶ \n")
        book.append(PdfReader(BytesIO(printed)), outline_item=title)
    page.close()
    book.write(target)


def main() -> None:
    """Print the whole book, or say in a line why it cannot be."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        sys.exit("error: no Chromium on this machine (Debian: apt-get install chromium)")
    build = ROOT / "_build"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium)
            print_pages(browser, build / "html", chapters(ROOT / "_toc.yml"), build / "book.pdf")
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    print("The book is printed: _build/book.pdf")


if __name__ == "__main__":
    main()
