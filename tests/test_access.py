"""Pages that anyone can read: by ear, by keyboard, on a phone, on paper, on a slow line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import pytest
from lean_theme import without_unused
from playwright.sync_api import Browser, Page
from print_book import chapters, print_pages
from pypdf import PdfReader
from test_layout import toc_entries

ROOT = Path(__file__).resolve().parents[1]
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf8")
APART = {"_static", "_modules"}  # no pages, and nothing but listings of the package
LONG = {"genindex.html", "py-modindex.html"}
READY = """async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;  // equations have their width
  await new Promise(done => setTimeout(done, 50));  // milliseconds: the observer has its turn
  return true;
}"""
VIOLATIONS = """async rules => (await axe.run(document, { resultTypes: ["violations"], ...rules }))
  .violations.flatMap(v => v.nodes.map(node => `${v.id}: ${node.target} ${node.failureSummary}`))"""
COLORS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""The rules whose answer depends on the theme; two thirds of axe's time."""
UNREACHABLE = """[...document.querySelectorAll("article *")].filter(box =>
    /auto|scroll/.test(getComputedStyle(box).overflowX) && box.scrollWidth > box.clientWidth + 1
    && box.clientWidth && box.tabIndex < 0 && !box.querySelector("a, button, input, select"))
  .map(box => box.outerHTML.slice(0, 100))"""
STOPS = """[...document.querySelectorAll("mjx-container[tabindex]")]
  .filter(e => e.scrollWidth <= e.clientWidth).map(e => e.innerText)"""
WORDS = """[...document.images].map(i => i.alt)
  .filter(words => words.length < 20 || words.split(" ")[0].includes("/"))"""
MOST = 1.5 * 2**20
"""Bytes of a first load besides figures and live data, uncompressed; a server's gzip sends a third.

MathJax is 0.9 MB of them, the theme's styles and scripts are 0.4."""


def pages(html: Path) -> list[Path]:
    found = [path for path in sorted(html.rglob("*.html"))]
    return [path for path in found if path.relative_to(html).parts[0] not in APART]


def is_listing(path: Path) -> bool:
    """Whether a page lists the package; such pages are alike in all that axe asks."""
    return path.name in LONG or path.parent.name == "api"


def opened(page: Page, path: Path) -> Page:
    page.goto(path.as_uri())
    page.wait_for_function(READY)
    return page


@pytest.mark.parametrize(
    ("width", "dark", "rules"),
    [
        (1400, False, {}),
        (1400, True, {"runOnly": COLORS}),
        (390, False, {"rules": {"color-contrast": {"enabled": False}}}),
        (390, True, {"runOnly": COLORS}),
    ],
    ids=["wide", "wide and dark", "phone", "phone and dark"],
)
def test_pages_can_be_read_by_ear_by_keyboard_and_on_a_slow_line(
    browser: Browser, built_book: Path, width: int, dark: bool, rules: dict[str, Any]
) -> None:
    found: dict[str, list[str]] = {}
    loaded: set[Path] = set()
    with browser.new_context(
        viewport={"width": width, "height": 900},
        is_mobile=width < 600,
        color_scheme="dark" if dark else "light",
        offline=True,
    ) as context:
        context.set_default_timeout(600_000)  # milliseconds, for a hang
        page = context.new_page()
        page.on("request", lambda asked: loaded.add(Path(unquote(urlsplit(asked.url).path))))
        for path in pages(built_book):
            listing = is_listing(path)
            if listing and (width, dark) != (1400, False):
                continue
            name = path.relative_to(built_book)
            loaded.clear()
            opened(page, path).evaluate(AXE)
            found[f"{name}, axe"] = page.evaluate(VIOLATIONS, rules)
            if dark:
                continue  # what follows does not depend on colours
            found[f"{name}, scrolls out of reach"] = page.evaluate(UNREACHABLE)
            found[f"{name}, an equation is a stop"] = page.evaluate(STOPS)
            if listing:
                continue  # no images but the theme's own, and its weight is its own text
            found[f"{name}, a file for words"] = page.evaluate(WORDS)
            own = [f for f in loaded if f.exists() and not {"_images", "live"} & set(f.parts)]
            size = sum(f.stat().st_size for f in own)
            found[f"{name}, too heavy"] = [f"{size} bytes"] * (size > MOST)
    assert found and not {name: faults for name, faults in found.items() if faults}


def test_axe_sees_a_fault(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><html lang=en><title>x</title><main><img src=x.png></main>")
    page = browser.new_page()
    opened(page, bad).evaluate(AXE)
    assert any("image-alt" in fault for fault in page.evaluate(VIOLATIONS, {}))
    page.close()


def test_a_figure_is_enlarged_by_touch_and_by_keyboard(browser: Browser, built_book: Path) -> None:
    with browser.new_context(
        viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True, offline=True
    ) as phone:
        page = opened(phone.new_page(), built_book / "phases.html")
        figure = page.locator("article figure img").first
        figure.scroll_into_view_if_needed()
        figure.tap()
        large = page.locator("dialog.enlarged img")
        assert large.bounding_box()["width"] >= 2 * figure.bounding_box()["width"]  # type: ignore[index]
        assert large.get_attribute("alt") == figure.get_attribute("alt")
        page.keyboard.press("Escape")
        assert not page.locator("dialog.enlarged").count()
        page.locator("button.enlarge").first.focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Close").click()
        assert not page.locator("dialog.enlarged").count()


def test_on_paper_no_line_is_cut_and_no_button_is_printed(
    browser: Browser, built_book: Path
) -> None:
    page = browser.new_page(viewport={"width": 700, "height": 1000})  # A4 within its margins
    page.emulate_media(media="print")
    cut = {}
    for path in pages(built_book):
        opened(page, path)
        cut[str(path.relative_to(built_book))] = page.evaluate(
            "[...document.querySelectorAll('article pre')].filter(p => p.clientWidth"
            " && p.scrollWidth > p.clientWidth + 1).map(p => p.innerText.slice(0, 60))"
        )
    assert not page.locator("article button:visible").count()
    page.close()
    assert not {name: boxes for name, boxes in cut.items() if boxes}


def test_a_search_shows_chapters_before_the_listing_of_the_package(
    browser: Browser, built_book: Path
) -> None:
    page = browser.new_page()
    page.goto(f"{(built_book / 'search.html').as_uri()}?q=catapult")
    page.wait_for_selector("#search-results p.search-summary:has-text('found')")
    links = page.locator("#search-results li a").evaluate_all("all => all.map(a => a.pathname)")
    page.close()
    listing = ["api" in (Path(link).stem, Path(link).parent.name) for link in links]
    assert any(listing) and listing == sorted(listing)  # False comes before True


def test_pages_are_printed_into_one_pdf_with_an_outline_and_no_link_to_a_file(
    browser: Browser, built_book: Path, tmp_path: Path
) -> None:
    print_pages(browser, built_book, ["notation", "figures/fig3_phases_ce"], tmp_path / "book.pdf")
    book = PdfReader(tmp_path / "book.pdf")
    titles = [entry.title for entry in book.outline if not isinstance(entry, list)]
    assert titles[-1].startswith("Fig. 3") and len(titles) == 2
    text = "\n".join(page.extract_text() for page in book.pages)
    assert "Three things to see" in text and "Show parameters" not in text
    links = [a.get_object() for page in book.pages for a in page.get("/Annots", [])]
    assert not [a for a in links if "file:" in str(a.get("/A", {}).get("/URI", ""))]


def test_the_pdf_has_every_chapter_of_the_book() -> None:
    assert {name for name in toc_entries() if not name.startswith("api")} == set(
        chapters(ROOT / "_toc.yml")
    )


def test_a_rule_of_a_style_stays_where_a_page_may_have_all_its_classes() -> None:
    style = "@media print{.a .b:not(.z){top:0}.c,i{top:1px}.z{top:2px}}.a.z{top:3px}.z,.b{top:4px}"
    kept = "@media print{.a .b:not(.z){top:0}.c,i{top:1px}}.z,.b{top:4px}"
    assert without_unused(style, {"a", "b"}) == kept


def image_cells() -> list[tuple[str, dict[str, Any]]]:
    cells = []
    for path in sorted((ROOT / "book").rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf8"))["cells"]:
            kinds = {kind for o in cell.get("outputs", []) for kind in o.get("data", {})}
            if any(kind.startswith("image/") for kind in kinds):
                cells.append((path.name, cell["metadata"].get("mystnb", {})))
    return cells


def test_every_figure_says_in_words_what_it_shows() -> None:
    cells = image_cells()
    assert len(cells) > 20
    poor = []
    for name, about in cells:
        words = about.get("image", {}).get("alt", "")
        caption = about.get("figure", {}).get("caption", "")
        plain = words.endswith(".") and "$" not in words and words not in caption
        if len(words) < 80 or not plain:
            poor.append(f"{name}: {words or caption[:60]}")
    assert not poor
