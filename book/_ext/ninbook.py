"""What the book needs from Sphinx beyond Jupyter Book.

- Kernels and autodoc import `nin` from this checkout, installed or not.
- A rebuild notices a change in the package or in a style.
- The ``provenance`` directive shows how an executed figure page came to be, and ``modules`` lists
  those of a room with what each is about.
- Docstrings stay readable in the source: Google style, with little markup.
- The search shows chapters before the listing of the package.
- Two flaws of the theme's scripts, which would show as console errors, are mended.
- Citations are plain text to a screen reader: their roles are no longer in the standard.
"""

import hashlib
import json
import os
import pkgutil
import re
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]


class Provenance(SphinxDirective):
    """``{provenance} page.ipynb``: a folded box with the run behind an executed page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the box; the page is read again when the notebook changes."""
        relative, absolute = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(absolute)
        notebook = json.loads(Path(absolute).read_text(encoding="utf8"))
        run = notebook["metadata"].get("papermill") or {}
        if not run:
            raise self.error(f"{relative} was not executed by papermill: run `make figures`")
        rows = {
            "notebook": f"book/{relative}",
            "parameters": json.dumps(run.get("parameters", {})),
            "finished": run["end_time"][:16].replace("T", " ") + " UTC",
            "seconds": f"{run['duration']:.0f}",
            "papermill": run["version"],
        }
        fields = nodes.field_list()
        for name, value in rows.items():
            body = nodes.field_body("", nodes.paragraph("", "", nodes.literal(text=value)))
            fields += nodes.field("", nodes.field_name(text=name), body)
        box = nodes.admonition(classes=["admonition", "dropdown", "provenance"])
        box += nodes.title(text="Provenance")
        box += fields
        return [box]


class Modules(SphinxDirective):
    """``{modules} nin.theory``: each module of a room, linked, with its docstring's first line."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the list; the docstrings are read anew in each build that reads the page."""
        room = import_module(self.arguments[0])
        found = [m.name for m in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")]
        says = [str(import_module(name).__doc__).partition("\n")[0] for name in found]
        lines = [f"- {{py:mod}}`{n}`: {said}" for n, said in zip(found, says, strict=True)]
        box = nodes.Element()
        self.state.nested_parse(StringList(lines, source=""), 0, box)
        return box.children


def digest(paths: Iterable[Path]) -> str:
    """Return a short digest of the names and contents of these files."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def chapter_inputs() -> list[Path]:
    """Return the files that a chapter's output depends on besides its own cells.

    Not the run records: they follow from the package, and a run of the user's own changes no page.
    """
    package = [
        path for suffix in ("py", "mplstyle") for path in (ROOT / "nin").rglob(f"*.{suffix}")
    ]
    return [*package, ROOT / "requirements.txt"]


def notice_changes(app: Sphinx, config: Config) -> None:
    """Let a rebuild see what it would otherwise overlook.

    The execution cache compares the text of cells only, so each state of the package gets its own.
    And a page is written again when a style of the book has changed, or the meaning of a symbol.
    """
    if config.nb_execution_mode == "cache" and not config.nb_execution_cache_path:
        cache = Path(app.outdir).parent / f".jupyter_cache_{digest(chapter_inputs())}"
        config.nb_execution_cache_path = str(cache)
    book = ROOT / "book"
    shared = [*book.glob("notation.md"), *(book / "_static").rglob("*")]
    styles = [path for path in shared if path.is_file()]
    config.html_context = {**config.html_context, "styles": digest(styles)}


def read_docstring_as_text(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep reStructuredText and napoleon from reading more into a docstring than it says.

    Types stand in annotations, so a colon is punctuation: an empty first line (a backslash) keeps
    napoleon from taking what precedes the colon for a type.
    """
    read = ["\\ "] if what in {"attribute", "data", "property"} else []
    for line in lines:
        # |B| is a size, not a substitution; (*shape, 3) opens no emphasis; `Chain`s is one word.
        text = re.sub(r"(`.*?`)|\|", lambda found: found[1] or r"\|", line)
        text = re.sub(r"(?<![*\w`])\*(?=\w)(?![^*]*\w\*)", r"\*", text)
        read.append(re.sub(r"(?<!`)(`[^`]+`)(?=\w)", r"\1\\ ", text))
        if line.strip() in {"Returns:", "Yields:"}:
            read.append(line[: -len(line.lstrip())] + "    \\ ")
    lines[:] = read


def tidy_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Drop scripts that a page would run twice, and name the theme's default mode."""
    seen, kept = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body")
        if body is None or body not in seen:
            kept.append(script)
        seen.add(body)
    context["script_files"] = kept
    context["default_mode"] = context.get("default_mode") or "auto"


def drop_stale_roles(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Drop the roles that docutils gives citations: one was withdrawn, a list needs items."""
    roles = r' role="doc-biblioentry"| role="list"(?= class="citation-list")'
    context["body"] = re.sub(roles, "", context.get("body", ""))


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx, and let this process and its kernels import `nin`."""
    sys.path.insert(0, str(ROOT))
    paths = [str(ROOT), os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    os.environ.pop("MPLBACKEND", None)  # a kernel that inherits "agg" puts no figure on its page
    app.add_directive("provenance", Provenance)
    app.add_directive("modules", Modules)
    app.config.html_search_scorer = str(Path(__file__).with_name("scorer.js"))
    app.connect("config-inited", notice_changes, priority=1)  # before the cache is opened
    app.connect("autodoc-process-docstring", read_docstring_as_text, priority=400)  # as written
    app.connect("html-page-context", tidy_scripts, priority=900)  # after all scripts are in
    app.connect("html-page-context", drop_stale_roles)
    version = int(digest([Path(__file__)]), base=16)  # pages are read again when this file changes
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
