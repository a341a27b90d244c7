"""What others take along says the same everywhere: citation, metadata, container, workflow."""

from __future__ import annotations

import fnmatch
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

import nin

ROOT = Path(__file__).resolve().parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf8")


def codemeta() -> dict[str, Any]:
    """Return what codemeta.json says, from CITATION.cff and pyproject.toml."""
    cited, project = yaml.safe_load(read("CITATION.cff")), tomllib.loads(read("pyproject.toml"))
    paper = cited["preferred-citation"]
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": cited["title"],
        "version": cited["version"],
        "description": project["project"]["description"],
        "license": f"https://spdx.org/licenses/{cited['license']}",
        "author": [{"@type": "Organization", "name": a["name"]} for a in cited["authors"]],
        "keywords": cited["keywords"],
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {project['project']['requires-python']}",
        "softwareRequirements": project["project"]["dependencies"],
        "referencePublication": {
            "@type": "ScholarlyArticle",
            "name": paper["title"],
            "author": [
                {"@type": "Person", "givenName": a["given-names"], "familyName": a["family-names"]}
                for a in paper["authors"]
            ],
            "identifier": paper["identifiers"][0]["value"],
            "datePublished": str(paper["year"]),
        },
    }


def test_codemeta_says_what_the_citation_and_the_package_say() -> None:
    expected = json.dumps(codemeta(), indent=2, ensure_ascii=False) + "\n"
    assert read("codemeta.json") == expected, f"write this into codemeta.json:\n{expected}"


def test_citation_and_package_are_of_one_version_and_licence() -> None:
    cited = yaml.safe_load(read("CITATION.cff"))
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert cited["version"] == nin.__version__
    assert cited["license"] == project["license"]
    assert [a["name"] for a in cited["authors"]] == [a["name"] for a in project["authors"]]
    assert set(cited["keywords"]) <= set(project["keywords"])


def test_the_container_installs_what_the_checks_install() -> None:
    def packages(text: str) -> list[str]:
        return re.search(r"no-install-recommends \\\n +([a-z0-9 -]+)", text)[1].split()  # type: ignore[index]

    assert packages(read("Dockerfile")) == packages(read(".ci/run"))
    container = json.loads(read(".devcontainer/devcontainer.json"))["build"]
    assert (ROOT / ".devcontainer" / container["dockerfile"]).resolve() == ROOT / "Dockerfile"


def instructions(word: str) -> list[str]:
    """Return what follows a word in the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", read("Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ")
    found = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [rest.strip() for first, _, rest in found if first == word]


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("no history here that says what a fresh copy holds")
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_the_container_copies_all_that_is_tracked() -> None:
    assert instructions("COPY") == [". ."]
    for pattern in read(".dockerignore").split():
        plain = pattern.removeprefix("**/")
        for name in tracked():
            parts = name.split("/")
            seen = parts if pattern != plain else parts[:1]
            assert not fnmatch.filter(seen, plain), f"{name} would not be copied"


def test_the_container_s_steps_are_ones_that_a_fresh_copy_can_take(tmp_path: Path) -> None:
    """Rehearsed: make goes through what it would do, from no environment to the built pages."""
    for name in ("Makefile", "requirements.txt", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    steps = [step for step in instructions("RUN") if step.startswith("make")]
    assert steps == ["make book"]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    rehearsed = subprocess.run(
        ["bash", "-c", steps[0]], cwd=tmp_path, env=plain | {"MAKEFLAGS": "--dry-run"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert rehearsed.returncode == 0, rehearsed.stderr
    said = rehearsed.stdout
    for a, b in itertools.pairwise(
        [
            "-m venv",
            "--require-hashes",
            "--editable .",
            "-m nin data",
            "-m nin figures",
            "build book",
        ]
    ):
        assert 0 < said.index(a) < said.index(b), f"{a} before {b}"


def test_binder_finds_its_user_who_owns_what_he_builds_and_jupyter_on_his_path() -> None:
    """What repo2docker asks of a Dockerfile: NB_USER of NB_UID, no root at the end, JupyterLab."""
    assert [name.partition("=")[0] for name in instructions("ARG")] == ["NB_USER", "NB_UID"]
    [home], [place] = instructions("WORKDIR"), instructions("USER")
    assert "HOME=/home/${NB_USER}" in instructions("ENV") and home == "${HOME}/companion"
    assert place == "${NB_USER}"
    text = read("Dockerfile")
    steps = ["useradd --uid ${NB_UID}", "COPY . .", "chown -R ${NB_USER} ${HOME}", "USER ${NB",
             "RUN make book", "pip install --quiet jupyterlab=="]  # fmt: skip
    for a, b in itertools.pairwise(steps):
        assert 0 < text.index(a) < text.index(b), f"{a} before {b}"
    assert "PATH=${HOME}/companion/.venv/bin:${PATH}" in instructions("ENV")
    assert not (ROOT / "binder").exists() and not (ROOT / ".binder").exists()  # would go before it


def test_the_container_serves_the_built_pages_at_the_port_that_is_forwarded(
    built_book: Path,
) -> None:
    [command], [port] = instructions("CMD"), instructions("EXPOSE")
    *words, last = json.loads(command)
    forwarded = json.loads(read(".devcontainer/devcontainer.json"))["forwardPorts"]
    assert [last] == [port] == [str(p) for p in forwarded]
    words[0] = sys.executable
    with subprocess.Popen(
        [*words, "0", "--bind", "127.0.0.1"], cwd=built_book.parents[1], text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            free = re.search(r"port (\d+)", server.stdout.readline())
            assert free is not None
            with urllib.request.urlopen(f"http://127.0.0.1:{free[1]}/index.html") as page:
                assert page.read() == (built_book / "index.html").read_bytes()
        finally:
            server.terminate()


def test_the_workflow_runs_the_checks_publishes_what_they_built_and_builds_the_container() -> None:
    jobs = yaml.safe_load(read(".github/workflows/book.yml"))["jobs"]
    says = {name: [s["run"] for s in job["steps"] if "run" in s] for name, job in jobs.items()}
    assert says == {"build": [".ci/run"], "image": ["make image"], "publish": []}
    steps = jobs["build"]["steps"]
    [pages] = [step["with"]["path"] for step in steps if "pages" in step.get("uses", "")]
    assert pages == "_build/html" and jobs["publish"]["needs"] == "build"
