"""The lock: versions of requirements.txt and of all that they bring, each file by its hash."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf8")
OURS = "noise-injection-companion"
MACHINES = [
    {"python_full_version": f"{python}.0", "python_version": python, "sys_platform": platform}
    for python in ("3.11", "3.12", "3.13")
    for platform in ("linux", "darwin")
]
"""Machines that one lock is for; what else a marker may ask is as here."""


def locked(machine: dict[str, str] | None = None) -> dict[str, str]:
    """Return the version of each package that the lock has for a machine, by default this one."""
    found: dict[str, str] = {}
    for line in re.findall(r"^([\w.-]+==.*?) \\$", LOCK, re.MULTILINE):
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate(machine):
            name = canonicalize_name(asked.name)
            assert name not in found, f"{name} twice for {machine}"
            [found[name]] = [clause.version for clause in asked.specifier]
    return found


def asked_for() -> list[Requirement]:
    """Return what requirements.txt and the package with all of its extras ask for."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf8").splitlines()
    pins = [line.split("#")[0].strip() for line in lines if re.match(r"[\w-]+==", line)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    extras = [each for group in project["optional-dependencies"].values() for each in group]
    wanted = [Requirement(text) for text in [*pins, *project["dependencies"], *extras]]
    return [each for each in wanted if each.name != OURS]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: " ".join(m.values()))
def test_the_lock_has_the_very_versions_of_the_requirements(machine: dict[str, str]) -> None:
    versions = locked(machine)
    for each in asked_for():
        assert each.specifier.contains(versions[canonicalize_name(each.name)]), (
            f"{each} but {versions[canonicalize_name(each.name)]} in requirements.lock: `make lock`"
        )


def test_each_locked_version_has_hashes_and_the_lock_tells_no_address() -> None:
    entries = re.split(r"\n(?=\w)", LOCK.partition("\n#    make lock\n")[2].strip())
    assert len(entries) > 100
    for entry in entries:
        assert re.fullmatch(r"[^\n]+ \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\\n)?)+", entry)
    assert "://" not in LOCK and "index-url" not in LOCK


def test_what_is_locked_is_what_is_installed() -> None:
    versions = locked()
    installed = {name: importlib.metadata.version(name).split("+")[0] for name in versions}
    assert installed == versions, "run `make test`, which installs requirements.lock"


def test_what_a_locked_package_needs_is_locked_too() -> None:
    versions = locked()
    for name in versions:
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in versions, f"{name} needs {needed}"


def test_the_book_is_built_by_the_program_that_reads_its_settings() -> None:
    assert locked()["jupyter-book"].startswith("1."), "the second reads no _config.yml"
