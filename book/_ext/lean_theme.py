"""Leave out what no page of the book uses: a page loads 0.2 MB of icons and styles in place of 1.9.

The theme brings 2,045 icons twice, as drawings in a script and as signs of a font, and all of
Bootstrap's classes; the pages use a dozen of the drawings and few of the classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from docutils import nodes
from sphinx.application import Sphinx

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
ICONS, STYLE = "scripts/fontawesome.js", "styles/pydata-sphinx-theme.css"
DRAWING = re.compile(
    r'"?([a-z0-9-]+)"?:\[\d+,\d+,\[[^\]]*\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
)
SIGNS = re.compile(r'(?:\.fa-[\w-]+:{1,2}before,?)+\{content:"[^"]*"\}')
RULE = re.compile(r"([^{}]+)\{[^{}]*\}")
CLASS = re.compile(r"\.(-?[a-zA-Z][\w-]*)")


def words_of(outdir: Path) -> set[str]:
    """Return all words of pages and scripts: no class or icon that they use is missing."""
    scripts = [path for path in outdir.glob("_static/**/*.js") if path.name != "fontawesome.js"]
    words: set[str] = set()
    for path in [*outdir.rglob("*.html"), *scripts]:
        words.update(re.findall(r"[a-zA-Z][\w-]*", path.read_text(encoding="utf8")))
    return words


def without_unused(style: str, words: set[str]) -> str:
    """Return a style without the rules that need a class that is none of these words."""

    def keep(found: re.Match[str]) -> str:
        outside = re.sub(r"\([^()]*\)", "", found[1])  # what brackets hold may be absent
        selectors = outside.split(",")
        return found[0] if any(set(CLASS.findall(one)) <= words for one in selectors) else ""

    return RULE.sub(keep, style)


def drop_unused(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Leave out scripts and styles of extensions that the page does not use, and hurry no image."""
    body = context.get("body", "")
    unused = {"thebe", *(() if "sd-" in body else ("sphinx-design", "design-tabs"))}
    for kind in ("script_files", "css_files"):
        context[kind] = [
            file for file in context.get(kind, []) if not any(name in str(file) for name in unused)
        ]
    context["body"] = body.replace("<img ", '<img loading="lazy" ')


def leave_out(app: Sphinx, exception: Exception | None) -> None:
    """Write the theme's icons and style without what is not used."""
    if exception is not None or app.builder.format != "html":
        return
    static, words = Path(app.outdir) / "_static", words_of(Path(app.outdir))
    icons = (THEME / ICONS).read_text(encoding="utf8")
    style = (THEME / STYLE).read_text(encoding="utf8")
    kept = DRAWING.sub(lambda found: found[0] if f"fa-{found[1]}" in words else "", icons)
    (static / ICONS).write_text(kept, encoding="utf8")
    (static / STYLE).write_text(without_unused(SIGNS.sub("", style), words), encoding="utf8")


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("html-page-context", drop_unused, priority=950)  # after all files are in
    app.connect("build-finished", leave_out)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
