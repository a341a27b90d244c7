"""Every image has words for those who do not see it, or the build fails.

A figure that one page glues from another has there the words that it has at home: the two are one
file. Where there are none, a caption stands in.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

LOG = logging.getLogger(__name__)


def known(env: BuildEnvironment) -> dict[str, str]:
    """Return the words of each image of the book that has some, by the name of its file."""
    images = [
        image for name in env.all_docs for image in env.get_doctree(name).findall(nodes.image)
    ]
    return {Path(image["uri"]).name: image["alt"] for image in images if image.get("alt")}


def give_words(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give each image its words, and warn of one that has none anywhere."""
    silent = [image for image in doctree.findall(nodes.image) if not image.get("alt")]
    words = known(app.env) if silent else {}
    for image in silent:
        captions = (
            image.parent.findall(nodes.caption) if isinstance(image.parent, nodes.figure) else ()
        )
        caption = " ".join(found.astext() for found in captions)
        image["alt"] = words.get(Path(image["uri"]).name, caption)
        if not image["alt"]:
            says = "an image has no words: give its cell {'mystnb': {'image': {'alt': '...'}}}"
            LOG.warning(says, location=docname, type="nin", subtype="alt")


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", give_words)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
