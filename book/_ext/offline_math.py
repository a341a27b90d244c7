"""Serve MathJax from the book's own folder, so that equations show with no network.

The wheel `sphinx-mathjax-offline` holds all of MathJax (24 MB). One file of it, the SVG renderer
with every TeX extension built in, is enough and needs no web fonts.
"""

from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

RENDERER = "tex-svg-full.js"


def use_local_copy(app: Sphinx, config: Config) -> None:
    """Point every page at the copy below ``_static``."""
    config.mathjax_path = f"mathjax/{RENDERER}"


def copy_renderer(app: Sphinx, exception: Exception | None) -> None:
    """Put the renderer beside the finished pages.

    It must not lie in ``book/_static``: Jupyter Book loads every script there on every page.

    Raises:
        ConfigError: If the wheel is not installed.
    """
    if exception is not None or app.builder.format != "html":
        return
    wheel = find_spec("sphinx-mathjax-offline")
    if wheel is None or wheel.origin is None:
        raise ConfigError("the package sphinx-mathjax-offline is missing: install requirements.txt")
    target = Path(app.outdir) / "_static" / "mathjax" / RENDERER
    target.parent.mkdir(parents=True, exist_ok=True)
    copyfile(Path(wheel.origin).parent / "static" / "mathjax" / RENDERER, target)


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("config-inited", use_local_copy, priority=900)  # after Jupyter Book's own settings
    app.connect("build-finished", copy_renderer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
