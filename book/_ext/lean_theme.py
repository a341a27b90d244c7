"""Leave out what no page of the book uses: a page loads 0.2 MB of icons and styles in place of 1.9.

The theme brings 2,045 icons twice, as drawings in a script and as signs of a font; the pages use a
dozen of the drawings.
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


def names(outdir: Path) -> set[str]:
    """Return the names of the icons that pages and scripts speak of."""
    scripts = [path for path in outdir.glob("_static/**/*.js") if path.name != "fontawesome.js"]
    texts = [path.read_text(encoding="utf8") for path in [*outdir.rglob("*.html"), *scripts]]
    return {name for text in texts for name in re.findall(r"\bfa-([a-z0-9-]+)", text)}


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
    static = Path(app.outdir) / "_static"
    used = names(Path(app.outdir))
    icons = (THEME / ICONS).read_text(encoding="utf8")
    style = (THEME / STYLE).read_text(encoding="utf8")
    kept = DRAWING.sub(lambda found: found[0] if found[1] in used else "", icons)
    (static / ICONS).write_text(kept, encoding="utf8")
    (static / STYLE).write_text(SIGNS.sub("", style), encoding="utf8")


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("html-page-context", drop_unused, priority=950)  # after all files are in
    app.connect("build-finished", leave_out)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
