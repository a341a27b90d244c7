"""Serve MathJax from the book's own folder, so that equations show with no network.

The wheel `sphinx-mathjax-offline` holds all of MathJax (24 MB). These parts of it draw TeX with
fonts, of which a page loads those that it needs, and give each equation as MathML to those who
listen. MathJax's menu stays away: it would weigh as much as all else, and would make a stop for
the tab key of every symbol.
"""

from importlib.util import find_spec
from pathlib import Path
from shutil import copytree, ignore_patterns

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

PARTS = ["input/tex", "output/chtml", "a11y/assistive-mml"]
UNUSED = ignore_patterns("tex-*", "mml*", "sre*", "svg*", "menu*", "node*", "all-*")


def use_local_copy(app: Sphinx, config: Config) -> None:
    """Point every page at the copy below ``_static``, and say what to load of it."""
    config.mathjax_path = "mathjax/startup.js"
    config.mathjax3_config = {"loader": {"load": PARTS}, **(config.mathjax3_config or {})}


def copy_parts(app: Sphinx, exception: Exception | None) -> None:
    """Put MathJax beside the finished pages.

    It must not lie in ``book/_static``: Jupyter Book loads every script there on every page.

    Raises:
        ConfigError: If the wheel is not installed.
    """
    if exception is not None or app.builder.format != "html":
        return
    wheel = find_spec("sphinx-mathjax-offline")
    if wheel is None or wheel.origin is None:
        raise ConfigError("the package sphinx-mathjax-offline is missing: install requirements.txt")
    source = Path(wheel.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    copytree(source, target, ignore=UNUSED, dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("config-inited", use_local_copy, priority=900)  # after Jupyter Book's own settings
    app.connect("build-finished", copy_parts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
