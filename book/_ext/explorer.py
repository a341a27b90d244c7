"""The directive ``{phase-explorer}``: the linear model with sliders, computed in the page.

Its script and style stand in the page itself, so that no other page loads them and none is fetched.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SCRIPT, STYLE = (Path(__file__).with_suffix(suffix) for suffix in (".js", ".css"))
HTML = """<style>
{style}</style>
<div id="phase-explorer"><noscript>The explorer needs JavaScript. Without it, run
<code>nin.linear.model.simulate</code> with a setting of your own.</noscript></div>
<script>
(() => {{
"use strict";
{model}
{script}}})();
</script>
"""


class PhaseExplorer(SphinxDirective):
    """``{phase-explorer}``: sliders, the run that they ask for, and its phase."""

    def run(self) -> list[nodes.Node]:
        """Return the explorer as raw HTML."""
        from nin.companion.explorer import model_script  # noqa: PLC0415  (only one page needs the package)

        for path in (SCRIPT, STYLE):
            self.env.note_dependency(str(path))
        style, script = (path.read_text(encoding="utf8") for path in (STYLE, SCRIPT))
        html = HTML.format(style=style, model=model_script(), script=script)
        return [nodes.raw("", html, format="html")]


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("phase-explorer", PhaseExplorer)
    sources = b"".join(path.read_bytes() for path in (Path(__file__), SCRIPT, STYLE))
    version = int(hashlib.sha256(sources).hexdigest()[:12], base=16)  # pages are read again
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
