"""JavaScript modules as one classic script: a page opened from a file may load no module.

The modules say ``import { a, b } from "./name.mjs";`` and ``export`` before one function or
constant, and no more: Node runs them as they are, and two patterns make a script of them.
"""

from __future__ import annotations

import re
from pathlib import Path

SOURCES = Path(__file__).with_name("live")
_IMPORT = re.compile(r'^import (\{[^;]*?\}) from "\./(\w+)\.mjs";\n', re.M)
_EXPORT = re.compile(r"^export (?=(?:async |const |function)[ *]*(?:function[ *]+)?(\w+))", re.M)


def bundle(name: str, modules: dict[str, str]) -> str:
    """Return a module and all that it imports as one script, each in a scope of its own.

    Args:
        name: The module; its exports are in an object, ``nameModule``.
        modules: Text of each module by its name.
    """
    done: dict[str, str] = {}

    def add(name: str) -> None:
        if name in done:
            return
        for _, needed in _IMPORT.findall(modules[name]):
            add(needed)
        exported = ", ".join(_EXPORT.findall(modules[name]))
        body = _EXPORT.sub("", _IMPORT.sub(r"const \1 = \2Module;\n", modules[name]))
        done[name] = f"const {name}Module = (() => {{\n{body}return {{ {exported} }};\n}})();\n"

    add(name)
    return "".join(done.values())


def sources(**written: str) -> dict[str, str]:
    """Return the text of all modules by name, those of the book and those given as `written`."""
    kept = {path.stem: path.read_text(encoding="utf8") for path in SOURCES.glob("*.mjs")}
    return kept | written
