"""Pages as anyone reads them: on a screen, on a phone, in the dark, on paper, by ear, by keyboard.

They are opened from disk in Chromium, with the network off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page

APART = {"_static", "_modules"}  # no pages, and nothing but listings of the package
LONG = {"genindex.html", "py-modindex.html"}
SCREENS = (1400, 390)
"""Widths of a laptop and of a phone, in pixels."""
HEIGHT = 900
MOST = 1.5 * 2**20
"""Bytes of a first load besides figures and live data, uncompressed; a server's gzip sends a third.

MathJax is 0.9 MB of them, the theme's styles and scripts are 0.4."""
# Wider than what a reader has; the signs of an equation come with the page in a font of its own.
WIDE = """*:not(mjx-container *) {
  font-family: "DejaVu Sans Mono", monospace !important; letter-spacing: 0.05em;
}"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# MathJax promises to be done with its equations.
DRAWN = """async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;  // equations have their width
  const images = [...document.images];
  images.forEach(image => { image.loading = "eager"; });
  await Promise.allSettled(images.map(image => image.decode()));
  await new Promise(done => setTimeout(done, 50));  // milliseconds: the observer has its turn
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
    equations_that_are_stops: equations
      .filter(e => e.tabIndex >= 0 && e.scrollWidth <= e.clientWidth).map(e => e.innerText),
    broken_images: [...document.images].filter(i => !i.naturalWidth).map(i => i.src),
    images_without_words: [...document.images].map(i => i.alt)
      .filter(words => words.length < 20 || words.split(" ")[0].includes("/")),
    scrolls_out_of_reach: [...document.querySelectorAll("article *")].filter(box =>
        /auto|scroll/.test(getComputedStyle(box).overflowX) && box.scrollWidth > box.clientWidth + 1
        && box.clientWidth && box.tabIndex < 0 && !box.querySelector("a, button, input, select"))
      .map(box => box.outerHTML.slice(0, 100)),
    raw_tex: /\\[[(]/.test(document.querySelector("main").innerText),
  };
}"""
PRINTED = """() => ({
  cut_on_paper: [...document.querySelectorAll("article pre")]
    .filter(p => p.clientWidth && p.scrollWidth > p.clientWidth + 1)
    .map(p => p.innerText.slice(0, 60)),
  buttons_on_paper: [...document.querySelectorAll("article button")]
    .filter(button => button.checkVisibility({ visibilityProperty: true }))
    .map(button => button.outerHTML),
})"""
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf8")
# Axe would fetch the styles too, which a file may not, for a rule that is off by default.
VIOLATIONS = """async rules => (await axe.run(document,
    { resultTypes: ["violations"], preload: { assets: ["media"] }, ...rules }))
  .violations.flatMap(v => v.nodes.map(node => `${v.id}: ${node.target} ${node.failureSummary}`))"""
COLORS = ["color-contrast", "link-in-text-block"]
"""The rules whose answer depends on the theme."""
SHAPES = {"rules": {rule: {"enabled": False} for rule in COLORS}}
"""All others that are on by default."""
# Words that look alike in boxes that look alike have one contrast, on whichever page: the first of
# them stay. It returns what it had not seen on pages before. The signs of equations, thousands of
# elements, come from styles, where axe sees no words.
FIRST_OF_A_KIND = """known => {
  document.querySelectorAll("mjx-container").forEach(equation => equation.replaceChildren());
  const kinds = new Map(known.map((kind, i) => [kind, i])), repeated = new Set();
  const walk = (element, above) => {
    const { color, backgroundColor, fontSize, fontWeight } = getComputedStyle(element);
    const kind = [above, element.localName, element.className, color, backgroundColor, fontSize,
      fontWeight].join();
    const seen = kinds.has(kind);
    if (!seen && element.checkVisibility()) kinds.set(kind, kinds.size);
    for (const child of element.children) walk(child, kinds.get(kind));
    if (seen && [...element.children].every(child => repeated.has(child))) repeated.add(element);
  };
  walk(document.body);
  repeated.delete(document.body);
  repeated.forEach(element => element.remove());
  return [...kinds.keys()].slice(known.length);
}"""
STILL = "*, *::before, *::after { transition: none !important; animation: none !important; }"


@dataclass
class Reader:
    """A tab of the browser, what it asked for, its complaints, the kinds of words it has seen."""

    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """What was asked of the network."""
        return [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))]

    def look(self, page: Path) -> dict[str, Any]:
        """Open a page and return what is in it and what may be wrong with it."""
        self.asked.clear()
        self.complaints.clear()
        self.page.goto(page.as_uri())
        found = self.laid_out()
        files = {Path(unquote(urlsplit(url).path)) for url in self.asked}
        own = [f for f in files if f.exists() and not {"_images", "live"} & set(f.parts)]
        size = sum(f.stat().st_size for f in own)
        return found | {
            "outside": self.outside,
            "complaints": list(self.complaints),
            "bytes_too_many": max(size - MOST, 0),
        }

    def laid_out(self) -> dict[str, Any]:
        """What is in the page that is open, once all of it is drawn."""
        self.page.wait_for_function(DRAWN)
        return self.page.evaluate(LOOK) | {"overflow": self.overflow()}

    def resize(self, width: int) -> None:
        """Show the page on a screen as wide as that."""
        self.page.emulate_media(media="screen")
        self.page.set_viewport_size({"width": width, "height": HEIGHT})

    def violations(self, rules: dict[str, Any]) -> list[str]:
        """What axe finds on the page that is open."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE)
        return list(self.page.evaluate(VIOLATIONS, rules))

    def in_both_themes(self) -> dict[str, list[str]]:
        """What axe finds in the colours of both themes, of kinds of words not seen before."""
        self.page.add_style_tag(content=STILL)  # no colour on its way to another
        self.kinds += self.page.evaluate(FIRST_OF_A_KIND, self.kinds)
        rules = {"runOnly": {"type": "rule", "values": COLORS}}
        found = {"axe_in_the_light": self.violations(rules)}
        self.turn(dark=True)
        found["axe_in_the_dark"] = self.violations(rules)
        self.turn(dark=False)
        return found

    def turn(self, dark: bool) -> None:
        """Let evening or morning come, and wait until the page has noticed."""
        theme = "dark" if dark else "light"
        self.page.emulate_media(color_scheme=theme)
        self.page.wait_for_selector(f"html[data-theme={theme}]")

    def on_paper(self) -> dict[str, list[str]]:
        """What an A4 page cuts or should not show; `resize` takes the page back to a screen."""
        self.page.set_viewport_size({"width": 700, "height": 1000})  # A4 within its margins
        self.page.emulate_media(media="print")
        found: dict[str, list[str]] = self.page.evaluate(PRINTED)
        return found

    def overflow(self) -> int:
        """By how many pixels the page that is open is wider than its screen."""
        return int(self.page.evaluate(OVERFLOW))

    def widen(self) -> None:
        """Show the page that is open in a wide font."""
        self.page.add_style_tag(content=WIDE)


@contextmanager
def reading(
    browser: Browser, width: int = 1200, dark: bool = False, scripts: bool = True
) -> Iterator[Reader]:
    """Open a tab with the network off."""
    with browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        is_mobile=width < 600,
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
        offline=True,
    ) as context:
        context.set_default_timeout(600_000)  # milliseconds, for a hang: a page takes a second
        reader = Reader(context.new_page())
        context.on("request", lambda request: reader.asked.append(request.url))
        context.on("weberror", lambda thrown: reader.complaints.append(f"{thrown.error}"))
        context.on(
            "console",
            lambda said: said.type in {"error", "warning"} and reader.complaints.append(said.text),
        )
        yield reader


@pytest.fixture(scope="module")
def seen(browser: Browser, built_book: Path) -> dict[str, dict[str, Any]]:
    """What the browser finds on every page, on a screen and as narrow as a phone."""
    found = {}
    screen, phone = SCREENS
    with reading(browser, screen) as reader:
        for path in sorted(built_book.rglob("*.html")):
            name = path.relative_to(built_book)
            if name.parts[0] in APART:
                continue
            facts = reader.look(path) | {"axe": reader.violations(SHAPES)} | reader.on_paper()
            reader.resize(phone)
            narrow = reader.laid_out()
            # Pages that list the package have no words for a sign; a page's text weighs.
            if listing := name.name in LONG or name.parent.name == "api":
                for those_of in (facts, narrow):
                    those_of |= {"images_without_words": [], "bytes_too_many": 0}
            reader.widen()
            narrow["overflow_in_a_wide_font"] = reader.overflow()
            reader.resize(screen)
            facts["overflow_in_a_wide_font"] = reader.overflow()
            facts |= {} if listing else reader.in_both_themes()
            found |= {f"{name} at {screen} px": facts, f"{name} at {phone} px": narrow}
    # To axe, which asks nothing of widths, a phone has what a screen has, but for the bar at the
    # top of every page; and one page that lists a room has the colours of all of them.
    with reading(browser, phone) as reader:
        for name in ("index.html", "phases.html", "claims.html", "api/theory.html"):
            facts = reader.look(built_book / name) | {"axe": reader.violations(SHAPES)}
            found[f"{name} on a phone"] = facts | reader.in_both_themes()
    return found


def those(seen: dict[str, dict[str, Any]], what: str) -> dict[str, Any]:
    return {page: facts[what] for page, facts in seen.items() if facts.get(what)}


def test_every_equation_is_drawn(seen: dict[str, dict[str, Any]]) -> None:
    assert those(seen, "equations")
    assert not those(seen, "undrawn_equations")
    assert not those(seen, "empty_equations")
    assert not those(seen, "equation_errors")
    assert not those(seen, "raw_tex")


@pytest.mark.parametrize(
    "fault",
    [
        "outside",
        "complaints",
        "bytes_too_many",
        "broken_images",
        "images_without_words",
        "equations_that_are_stops",
        "scrolls_out_of_reach",
        "overflow",
        "overflow_in_a_wide_font",
        "axe",
        "axe_in_the_light",
        "axe_in_the_dark",
        "cut_on_paper",
        "buttons_on_paper",
    ],
)
def test_no_page_has(seen: dict[str, dict[str, Any]], fault: str) -> None:
    assert any(fault in facts for facts in seen.values())
    assert not those(seen, fault)


def test_on_a_page_with_every_fault_each_is_seen(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "heavy.js").write_text("//" + "x" * int(MOST), encoding="utf8")
    page = tmp_path / "bad.html"
    page.write_text(
        r"""<!doctype html><html data-theme="light"><script src="heavy.js"></script>
        <script>matchMedia("(prefers-color-scheme: dark)").onchange = evening =>
          { document.documentElement.dataset.theme = evening.matches ? "dark" : "light"; };</script>
        <style>[data-theme=dark] p { color: #eee; } [data-theme=light] i { color: #ddd; }</style>
        <main><article><p style="width: 2000px">\[ x \]</p>
        <i class="math"></i><i class="math"></i><i class="math"></i><i>pale</i><i>pale too</i>
        <mjx-container data-mjx-error="?"></mjx-container>
        <mjx-container tabindex="0"></mjx-container><button>print me</button>
        <div style="overflow-x: auto; width: 9px">long</div><pre style="width: 9px">long</pre>
        <img src="none.png"><img src="https://example.org/x.png"></article></main>"""
    )
    with reading(browser) as reader:
        facts = reader.look(page) | {"axe": reader.violations(SHAPES)} | reader.on_paper()
        reader.resize(SCREENS[0])
        reader.widen()
        facts |= {"overflow_in_a_wide_font": reader.overflow()} | reader.in_both_themes()
    assert not [fault for fault, found in facts.items() if not found]
