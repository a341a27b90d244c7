"""What others take along says the same everywhere: citation, metadata, container, workflow."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

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


def test_the_workflow_runs_the_checks_and_publishes_what_they_built() -> None:
    jobs = yaml.safe_load(read(".github/workflows/book.yml"))["jobs"]
    steps = jobs["build"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    [pages] = [step["with"]["path"] for step in steps if "pages" in step.get("uses", "")]
    assert pages == "_build/html" and jobs["publish"]["needs"] == "build"
