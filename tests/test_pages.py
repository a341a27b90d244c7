"""The built pages: complete in themselves, with links that lead somewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes through which a page loads something by itself; <a href> waits for the reader.
LOADS = {"src", "srcset", "data", "poster", "background"}
LOADING_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest"}
EXTERNAL = re.compile(r"^\s*(https?:)?//", re.I)
EXTERNAL_IN_CSS = re.compile(r"""(?:url\(|@import)\s*["']?\s*(?:https?:)?//[^"')\s]+""", re.I)


@dataclass
class Page(HTMLParser):
    """What one HTML file loads, links to, defines and says."""

    path: Path
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    styles: list[str] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, bool]] = []
        self.feed(self.path.read_text(encoding="utf8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        self.loads += [value for name, value in found.items() if name in LOADS]
        if tag == "link" and LOADING_LINKS & set(found.get("rel", "").split()):
            self.loads.append(found["href"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.styles.append(found.get("style", ""))
        # TeX belongs in elements that MathJax reads; code shows what it likes.
        silent = (
            tag in {"script", "style", "pre", "code"} or "math" in found.get("class", "").split()
        )
        self._open.append((tag, silent))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass  # elements without an end tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "style":
            self.styles.append(data)
        elif not any(silent for _, silent in self._open):
            self.prose.append(data)


@cache
def read_pages(html: Path) -> list[Page]:
    pages = [Page(path) for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]
    assert len(pages) > 2, f"almost no pages in {html}"
    return pages


def test_no_page_loads_anything_from_the_network(built_book: Path) -> None:
    found = {
        f"{page.path.name}: {load}"
        for page in read_pages(built_book)
        for load in page.loads
        if any(EXTERNAL.match(part) for part in load.split(","))
    }
    assert not found


def test_no_style_loads_anything_from_the_network(built_book: Path) -> None:
    texts = {path.name: path.read_text(encoding="utf8") for path in built_book.rglob("*.css")}
    texts |= {page.path.name: "\n".join(page.styles) for page in read_pages(built_book)}
    found = {
        f"{name}: {url}" for name, text in texts.items() for url in EXTERNAL_IN_CSS.findall(text)
    }
    assert not found


def test_everything_a_page_loads_is_there(built_book: Path) -> None:
    missing = [
        f"{page.path.name}: {load}"
        for page in read_pages(built_book)
        for load in page.loads
        if not load.startswith("data:")
        and not (page.path.parent / unquote(urlsplit(load).path)).exists()
    ]
    assert not missing


def test_every_internal_link_resolves(built_book: Path) -> None:
    ids = {page.path: page.ids for page in read_pages(built_book)}
    broken = []
    for page in read_pages(built_book):
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            fragment = unquote(parts.fragment)
            if not target.exists() or (fragment and fragment not in ids.get(target, {fragment})):
                broken.append(f"{page.path.name}: {link}")
    assert not broken


def test_no_page_names_a_folder_of_the_machine_that_built_it(built_book: Path) -> None:
    project = str(Path(__file__).resolve().parents[1])
    assert not [page.path.name for page in read_pages(built_book) if project in "".join(page.prose)]


def test_no_tex_stands_outside_the_equations(built_book: Path) -> None:
    tex = re.compile(r"\\[\[(]|\$\$|\\(?:frac|sigma|eta|langle|epsilon)\b")
    found = [
        f"{page.path.name}: {text.strip()[:60]}"
        for page in read_pages(built_book)
        for text in page.prose
        if tex.search(text)
    ]
    assert not found
