"""The directive ``{claims-filter}``: fields that leave of the ledger's table what is asked for.

They are made by a script in the page; where none runs, nothing stands here and the table is whole.
"""

from __future__ import annotations

import hashlib

from docutils import nodes
from js_modules import SOURCES, bundle, sources
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

STYLE, SCRIPT = SOURCES / "filter.css", SOURCES / "filter.mjs"
HTML = """<style>
{style}</style>
<form class="filters" aria-label="Filter the claims"></form>
<script>
addEventListener("DOMContentLoaded", () => {{
"use strict";
{script}filterModule.mountFilter(document.querySelector("form.filters"));
}});
</script>
"""


class ClaimsFilter(SphinxDirective):
    """``{claims-filter}``: by verdict, by section, by figure, by words."""

    def run(self) -> list[nodes.Node]:
        """Return the form as raw HTML."""
        for path in (STYLE, SCRIPT):
            self.env.note_dependency(str(path))
        style, script = STYLE.read_text(encoding="utf8"), bundle("filter", sources())
        return [nodes.raw("", HTML.format(style=style, script=script), format="html")]


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("claims-filter", ClaimsFilter)
    content = b"".join(
        path.read_bytes() for path in (STYLE, SCRIPT, SOURCES.parent / "claims_filter.py")
    )
    version = int(hashlib.sha256(content).hexdigest()[:12], base=16)  # pages are read again
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
