"""What a node works with: a table made of the tests that show it, so that it says no more."""

from __future__ import annotations

import ast
from pathlib import Path

from nin.folders import HOME

TESTS = HOME / "tests"
FILES = ("test_node_*.py", "test_recorder.py")
"""The tests that are read: those marked ``@pytest.mark.shows("...")``."""


def shown_by_tests(folder: Path = TESTS) -> dict[str, list[tuple[str, str]]]:
    """Return what the node works with, and of each the facts that tests show with their files.

    A fact is the test's name in words.

    Args:
        folder: Where the tests are; there are none in an installed package.

    Raises:
        FileNotFoundError: If there are no such tests.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(p for pattern in FILES for p in folder.glob(pattern)):
        for test in ast.parse(path.read_text(encoding="utf8")).body:
            if isinstance(test, ast.FunctionDef):
                fact = test.name.removeprefix("test_").replace("_", " ")
                for what in _shows(test):
                    found.setdefault(what, []).append((fact, path.name))
    if not found:
        raise FileNotFoundError(f"expected tests marked 'shows' in {folder}: run from a checkout")
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def works_with_table(folder: Path = TESTS) -> str:
    """Return the table as Markdown, in a box for the phone: what, what a test shows, whose file."""
    rows = ["```{container} long", "", "| with | what a test shows | in |", "|:--|:--|:--|"]
    for what, facts in shown_by_tests(folder).items():
        says = "<br>".join(fact for fact, _ in facts)
        files = ", ".join(f"`{name}`" for name in dict.fromkeys(name for _, name in facts))
        rows.append(f"| {what} | {says} | {files} |")
    return "\n".join([*rows, "```"])


def _shows(test: ast.FunctionDef) -> list[str]:
    """Return the arguments of a test's marks ``pytest.mark.shows``."""
    marks = [d for d in test.decorator_list if isinstance(d, ast.Call)]
    return [
        ast.literal_eval(mark.args[0]) for mark in marks if ast.unparse(mark.func).endswith("shows")
    ]
