"""What pages offer those who read by touch, by keyboard, by ear or on paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lean_theme import without_unused
from playwright.sync_api import Browser
from print_book import chapters, print_pages
from pypdf import PdfReader
from test_browser import DRAWN
from test_layout import toc_entries

ROOT = Path(__file__).resolve().parents[1]


def test_a_figure_is_enlarged_by_touch_and_by_keyboard(browser: Browser, built_book: Path) -> None:
    with browser.new_context(
        viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True, offline=True
    ) as phone:
        page = phone.new_page()
        page.goto((built_book / "phases.html").as_uri())
        page.wait_for_function(DRAWN)
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
        escaped = "\\\\" in caption or not caption.isprintable()  # r"\rm" written twice, or not raw
        if len(words) < 80 or not plain or escaped:
            poor.append(f"{name}: {words or caption[:60]}")
    assert not poor
