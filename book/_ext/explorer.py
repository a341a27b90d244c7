"""The directive ``{phase-explorer}``: the linear model with sliders, computed in the page.

Its script and style stand in the page itself, so that no other page loads them and none is fetched.
"""

from __future__ import annotations

import hashlib

from docutils import nodes
from js_modules import SOURCES, bundle, sources
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

STYLES = [SOURCES / "track.css", SOURCES / "explorer.css"]
HTML = """<style>
{style}</style>
<div id="phase-explorer"><noscript>The explorer needs JavaScript. Without it, run
<code>nin.linear.model.simulate</code> with a setting of your own.</noscript></div>
<script>
(() => {{
"use strict";
{script}}})();
</script>
"""


class PhaseExplorer(SphinxDirective):
    """``{phase-explorer}``: sliders, the run that they ask for, and its phase."""

    def run(self) -> list[nodes.Node]:
        """Return the explorer as raw HTML."""
        from nin.companion.explorer import model_module, rule_module  # noqa: PLC0415  (one page)

        for path in [*SOURCES.glob("*.mjs"), *STYLES]:
            self.env.note_dependency(str(path))
        style = "".join(path.read_text(encoding="utf8") for path in STYLES)
        script = bundle("explorer", sources(model=model_module(), rule=rule_module()))
        return [nodes.raw("", HTML.format(style=style, script=script), format="html")]


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("phase-explorer", PhaseExplorer)
    read = [*sorted(SOURCES.iterdir()), SOURCES.parent / "explorer.py"]
    content = b"".join(path.read_bytes() for path in read)
    version = int(hashlib.sha256(content).hexdigest()[:12], base=16)  # pages are read again
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
