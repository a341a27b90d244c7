"""The directives ``{live-network}``, a network that trains in the page, and ``{run-browser}``.

Their scripts, images and runs lie beside the pages that ask for them and are fetched by no other.
The part of a worker travels as text in the script of its page, since a page that is opened from a
file may not load one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from js_modules import SOURCES, bundle, sources
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ASSETS = "_static/live"  # Jupyter Book loads every script of book/_static on every page: not there
NETWORK = """<link rel="stylesheet" href="{assets}/live.css">
<div class="live"{guided}><noscript>The live network needs JavaScript. Without it, run
<code>python -m nin run</code> with a setting of your own.</noscript></div>
<script defer src="{assets}/live.js"></script>
"""
BROWSER = """<link rel="stylesheet" href="{assets}/live.css">
<div class="run-browser"><noscript>The run browser needs JavaScript.</noscript></div>
<script defer src="{assets}/runs.js"></script>
<script defer src="{assets}/browser.js"></script>
"""
SCRIPT = """(() => {{
"use strict";
{constants}{modules}{call};
}})();
"""


class LiveNetwork(SphinxDirective):
    """``{live-network}``: sliders, a network, its curves; with ``:guided:`` the six steps too."""

    option_spec = {"guided": directives.flag}  # noqa: RUF012  (as docutils wants it)

    def run(self) -> list[nodes.Node]:
        """Return the place that the script fills."""
        guided = " data-guided" if "guided" in self.options else ""
        return place(self, NETWORK, guided=guided)


class RunBrowser(SphinxDirective):
    """``{run-browser}``: the runs on record behind Figs. 1 to 3."""

    def run(self) -> list[nodes.Node]:
        """Return the place that the script fills."""
        return place(self, BROWSER)


def place(directive: SphinxDirective, html: str, **options: str) -> list[nodes.Node]:
    """Note that a page asks for a directive's files, and return its HTML."""
    env = directive.env
    env.metadata[env.docname][directive.name] = True
    assets = "../" * env.docname.count("/") + ASSETS
    return [nodes.raw("", html.format(assets=assets, **options), format="html")]


def network_files() -> dict[str, str]:
    """Return the files of the live network by name."""
    from nin.companion.explorer import rule_module  # noqa: PLC0415  (importing them takes seconds,
    from nin.companion.live import images_script, package_module  # noqa: PLC0415  most builds do not)

    modules = sources(package=package_module(), rule=rule_module())
    worker = json.dumps(bundle("worker", modules))
    constants = f"const HERE = document.currentScript.src;\nconst WORKER = {worker};\n"
    call = "pageModule.mountAll(HERE, WORKER)"
    script = SCRIPT.format(constants=constants, modules=bundle("page", modules), call=call)
    return {"live.js": script, "images.js": images_script()}


def browser_files() -> dict[str, str]:
    """Return the files of the run browser by name."""
    from nin.companion.explorer import rule_module  # noqa: PLC0415
    from nin.companion.run_browser import browser_script  # noqa: PLC0415

    modules = bundle("browser", sources(rule=rule_module()))
    call = "browserModule.mountBrowsers(globalThis.ninRuns)"
    script = SCRIPT.format(constants="", modules=modules, call=call)
    return {"browser.js": script, "runs.js": browser_script()}


def write_assets(app: Sphinx, exception: Exception | None) -> None:
    """Write the files that pages ask for beside the finished pages."""
    if exception is not None or app.builder.format != "html":
        return
    files: dict[str, str] = {}
    for name, make in (("live-network", network_files), ("run-browser", browser_files)):
        if any(name in about for about in app.env.metadata.values()):
            files |= make()
    if not files:
        return
    files["live.css"] = "".join((SOURCES / f"{n}.css").read_text("utf8") for n in ("track", "live"))
    folder = Path(app.outdir) / ASSETS
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf8")


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("live-network", LiveNetwork)
    app.add_directive("run-browser", RunBrowser)
    app.connect("build-finished", write_assets)
    version = int(hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12], base=16)
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
