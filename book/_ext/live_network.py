"""The directive ``{live-network}``: a network that trains in the page.

Its modules in ``live/`` become one classic script, since a page that is opened from a file may load
no module; the worker's part of it travels as text. That script and the images lie beside the pages
that ask for them and are fetched by no other.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from modules import SOURCES, bundle, sources
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ASSETS = "_static/live"  # Jupyter Book loads every script of book/_static on every page: not there
USED = "live-network"
HTML = """<link rel="stylesheet" href="{assets}/live.css">
<div class="live"{guided}><noscript>The live network needs JavaScript. Without it, run
<code>python -m nin run</code> with a setting of your own.</noscript></div>
<script defer src="{assets}/live.js"></script>
"""
SCRIPT = """(() => {{
"use strict";
const WORKER = {worker};
const HERE = document.currentScript.src;
{page}pageModule.mountAll(HERE, WORKER);
}})();
"""


def script() -> str:
    """Return the script of the pages that ask for the network."""
    from nin.companion.explorer import rule_module  # noqa: PLC0415  (importing them takes seconds,
    from nin.companion.live import package_module  # noqa: PLC0415  and most builds need no script)

    modules = sources(package=package_module(), rule=rule_module())
    worker = json.dumps(bundle("worker", modules))
    return SCRIPT.format(worker=worker, page=bundle("page", modules))


class LiveNetwork(SphinxDirective):
    """``{live-network}``: sliders, a network, its curves; with ``:guided:`` the six steps too."""

    option_spec = {"guided": directives.flag}  # noqa: RUF012  (as docutils wants it)

    def run(self) -> list[nodes.Node]:
        """Return the place that the script fills."""
        self.env.metadata[self.env.docname][USED] = True
        assets = "../" * self.env.docname.count("/") + ASSETS
        guided = " data-guided" if "guided" in self.options else ""
        return [nodes.raw("", HTML.format(assets=assets, guided=guided), format="html")]


def write_assets(app: Sphinx, exception: Exception | None) -> None:
    """Write the scripts and the style beside the finished pages, if any page asks for them."""
    used = any(USED in about for about in app.env.metadata.values())
    if exception is not None or app.builder.format != "html" or not used:
        return
    from nin.companion.live import images_script  # noqa: PLC0415

    folder = Path(app.outdir) / ASSETS
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "live.js": script(),
        "images.js": images_script(),
        "live.css": "".join((SOURCES / f"{n}.css").read_text("utf8") for n in ("track", "live")),
    }
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf8")


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("live-network", LiveNetwork)
    app.connect("build-finished", write_assets)
    version = int(hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12], base=16)
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
