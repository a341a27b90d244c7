"""Pages as a reader sees them: opened from disk in Chromium, with the network off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

# Wider than what a reader has; the signs of an equation come with the page in a font of its own.
WIDE = """*:not(mjx-container *) {
  font-family: "DejaVu Sans Mono", monospace !important; letter-spacing: 0.05em;
}"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# MathJax promises to be done with its equations.
DRAWN = """async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  const images = [...document.images];
  images.forEach(image => { image.loading = "eager"; });
  await Promise.allSettled(images.map(image => image.decode()));
  return true;
}"""
LOOK = r"""() => {
  const equations = [...document.querySelectorAll("mjx-container")];
  const boxes = equations.map(equation => equation.getBoundingClientRect());
  return {
    equations: equations.length,
    undrawn_equations: Math.max(document.querySelectorAll(".math").length - equations.length, 0),
    empty_equations: boxes.filter(box => box.width < 1 || box.height < 1).length,
    equation_errors: [...document.querySelectorAll("[data-mjx-error]")]
      .map(e => e.getAttribute("data-mjx-error")),
    broken_images: [...document.images].filter(i => !i.naturalWidth).map(i => i.src),
    raw_tex: /\\[[(]/.test(document.querySelector("main").innerText),
  };
}"""


@dataclass
class Reader:
    """A tab of the browser, what it asked of the network, and its complaints in the console."""

    page: Page
    outside: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def look(self, page: Path) -> dict[str, Any]:
        """Open a page and return what is in it and what may be wrong with it."""
        self.outside, self.complaints = [], []
        self.page.goto(page.as_uri())
        self.page.wait_for_function(DRAWN)
        found = self.page.evaluate(LOOK) | {"overflow": self.page.evaluate(OVERFLOW)}
        self.page.add_style_tag(content=WIDE)
        found["overflow_in_a_wide_font"] = self.page.evaluate(OVERFLOW)
        return found | {"outside": self.outside, "complaints": self.complaints}


@contextmanager
def reading(
    browser: Browser, width: int = 1200, dark: bool = False, scripts: bool = True
) -> Iterator[Reader]:
    """Open a tab with the network off."""
    with browser.new_context(
        viewport={"width": width, "height": 900},
        is_mobile=width < 600,
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
        offline=True,
    ) as context:
        context.set_default_timeout(600_000)  # milliseconds, for a hang: a page takes a second
        reader = Reader(context.new_page())

        def requested(url: str) -> None:
            if not url.startswith(("file:", "data:", "blob:")):
                reader.outside.append(url)

        context.on("request", lambda request: requested(request.url))
        context.on("weberror", lambda thrown: reader.complaints.append(f"{thrown.error}"))
        context.on(
            "console",
            lambda said: said.type in {"error", "warning"} and reader.complaints.append(said.text),
        )
        yield reader


@pytest.fixture(scope="module")
def seen(browser: Browser, built_book: Path) -> dict[str, dict[str, Any]]:
    """What the browser finds on every page: on a screen, and in the dark on a phone."""
    apart = {"_static", "_modules"}  # no pages, and nothing but listings of the package
    paths = [path.relative_to(built_book) for path in sorted(built_book.rglob("*.html"))]
    pages = [path for path in paths if path.parts[0] not in apart]
    found = {}
    for name, width, dark in (("on a screen", 1200, False), ("on a phone", 390, True)):
        with reading(browser, width, dark) as reader:
            found |= {f"{path} {name}": reader.look(built_book / path) for path in pages}
    return found


def those(seen: dict[str, dict[str, Any]], what: str) -> dict[str, Any]:
    return {page: facts[what] for page, facts in seen.items() if facts[what]}


def test_no_page_asks_the_network(seen: dict[str, dict[str, Any]]) -> None:
    assert not those(seen, "outside")


def test_no_page_complains_in_the_console(seen: dict[str, dict[str, Any]]) -> None:
    assert not those(seen, "complaints")


def test_every_equation_is_drawn(seen: dict[str, dict[str, Any]]) -> None:
    assert those(seen, "equations")
    assert not those(seen, "undrawn_equations")
    assert not those(seen, "empty_equations")
    assert not those(seen, "equation_errors")
    assert not those(seen, "raw_tex")


def test_every_figure_is_drawn(seen: dict[str, dict[str, Any]]) -> None:
    assert not those(seen, "broken_images")


@pytest.mark.parametrize("how", ["overflow", "overflow_in_a_wide_font"])
def test_no_page_is_wider_than_its_screen(seen: dict[str, dict[str, Any]], how: str) -> None:
    assert not those(seen, how)


def test_on_a_page_with_every_fault_each_is_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        r"""<!doctype html><main><p style="width: 2000px">\[ x \]</p>
        <i class="math"></i><i class="math"></i><mjx-container data-mjx-error="?"></mjx-container>
        <img src="none.png"><img src="https://example.org/x.png"></main>"""
    )
    with reading(browser) as reader:
        facts = reader.look(page)
    assert not [fault for fault, found in facts.items() if not found]
