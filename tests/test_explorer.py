"""The phase explorer: its script in Node against the package, and its page in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page
from scipy import stats
from test_browser import OVERFLOW, reading

from nin.linear.model import simulate
from nin.runs.phases import Phase, classify_phase, phase_index

ROOT = Path(__file__).resolve().parents[1]
NODE = shutil.which("node")
START = {"w1": 1.0, "u": 0.1, "w0": 0.1, "eta": 0.01, "batch_size": 1000, "M": 1.0, "sigma_x": 1.0}
START |= {"steps": 200}
SETTINGS = [
    START | {"sigma_eps": 0.02, "seed": 0},
    START | {"sigma_eps": 3.0, "seed": 1},
    START | {"sigma_eps": 17.0, "seed": 2},
    START | {"sigma_eps": 40.0, "seed": 3},  # diverges in a few steps
    START | {"sigma_eps": 13.0, "seed": 4, "batch_size": 7},
    START | {"sigma_eps": 5.0, "seed": 5, "batch_size": 1},
    START | {"sigma_eps": 5.0, "seed": 6, "batch_size": 2},
    START | {"sigma_eps": 17.0, "seed": 7, "batch_size": None},  # no fluctuations
    START | {"sigma_eps": 0.0, "seed": 8, "batch_size": 1},
    {"w1": -0.7, "u": 0.5, "w0": 0.8, "sigma_eps": 1.7, "eta": 0.06, "batch_size": 3, "M": -1.4,
     "sigma_x": 0.6, "steps": 200, "seed": 99},
]  # fmt: skip


@pytest.fixture(scope="module")
def script(built_book: Path) -> str:
    """The script that the page loads, as it stands there."""
    page = (built_book / "phases.html").read_text(encoding="utf8")
    [found] = [s for s in re.findall(r"<script>(.*?)</script>", page, re.S) if "const model" in s]
    return found


def in_node(script: str, expression: str, data: object = None) -> Any:
    """Run the page's script, then an expression of `data`; return its value."""
    if NODE is None:
        missing = "no Node on this machine (Debian: apt-get install nodejs)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    program = f"{script}\nconst data = {json.dumps(data)};\n"
    program += f"process.stdout.write(JSON.stringify({expression}));"
    done = subprocess.run([NODE, "-"], input=program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_python(setting: dict[str, Any]) -> Any:
    averaged = {"batch_size": 1, "noise": "none"} if setting["batch_size"] is None else {}
    return simulate(**setting | averaged, record=range(setting["steps"]))


RUN = """data.map(setting => {
  const course = phaseExplorer.run({ ...setting, batch_size: setting.batch_size ?? Infinity });
  const found = phaseExplorer.classify(course), lists = {};
  for (const name of ["w1", "u", "w0", "loss"]) lists[name] = [...course[name]];
  return { ...lists, ...found, diverged: course.diverged };
})"""


def test_page_takes_the_steps_of_the_package(script: str) -> None:
    courses = in_node(script, RUN, SETTINGS)
    assert sum(course["diverged"] >= 0 for course in courses) == 1
    for setting, course in zip(SETTINGS, courses, strict=True):
        run = in_python(setting)
        assert course["diverged"] == run.diverged_step
        for name in ("w1", "u", "w0", "loss"):
            theirs = getattr(run, name)[: len(course[name])]
            # The same 64-bit arithmetic: only exp, log and fused operations may round otherwise.
            np.testing.assert_allclose(course[name], theirs, rtol=1e-10, atol=0)
        assert len(course["u"]) == (201 if course["diverged"] < 0 else course["diverged"])


def test_page_names_the_phases_of_the_package(script: str) -> None:
    settings = [setting | {"steps": 3000} for setting in SETTINGS]
    courses, phases = in_node(script, RUN, settings), []
    for setting, course in zip(settings, courses, strict=True):
        found = classify_phase(in_python(setting).history())
        phases.append(found.phase)
        assert course["phase"] == found.phase
        for name in ("w_peak", "w_end", "loss_peak", "loss_end"):
            # After thousands of steps near w_ni = 0 rounding has grown; pages show three digits.
            assert course[name] == pytest.approx(getattr(found, name), rel=1e-4, abs=1e-12)
    assert set(phases) == set(Phase)


def test_page_applies_the_rule_of_the_package(script: str) -> None:
    g = np.random.default_rng(0)
    numbers = 10 ** g.uniform(-0.5, 0.5, (4, 5000))
    gone = g.random(5000) < 0.1
    rows = [[*map(float, row), bool(d)] for row, d in zip(numbers.T, gone, strict=True)]
    theirs = in_node(script, "data.map(row => phaseExplorer.phaseIndex(...row))", rows)
    assert set(theirs) == {0, 1, 2, 3}
    assert theirs == phase_index(*numbers, gone).tolist()


@pytest.mark.parametrize(
    ("draw", "law"),
    [
        ("uniform()", stats.uniform),
        ("normal()", stats.norm),
        *((f"chiSquared({k})", stats.chi2(k)) for k in (1, 2, 3, 10, 999)),
    ],
)
def test_random_numbers_of_the_page_follow_their_laws(script: str, draw: str, law: Any) -> None:
    many = f"(r => Array.from({{ length: 50000 }}, () => r.{draw}))"
    found = in_node(script, f'{many}(phaseExplorer.randomNumbers("0123456789abcdef"))')
    assert stats.kstest(found, law.cdf).pvalue > 1e-6  # a fixed stream: passes always or never


@pytest.mark.parametrize("batch_size", [1000, None])
def test_command_on_the_page_makes_the_same_run(script: str, batch_size: int | None) -> None:
    setting = START | {"sigma_eps": 17.0, "seed": 2, "batch_size": batch_size}
    [course] = in_node(script, RUN, [setting])
    call = "phaseExplorer.command({ ...data, batch_size: data.batch_size ?? Infinity })"
    command = in_node(script, call, setting)
    assert command.startswith(".venv/bin/python -c ")
    here = command.replace(".venv/bin/python", f"'{sys.executable}'", 1)
    done = subprocess.run(here, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    phase, evidence = done.stdout.split(" - ", 1)
    assert phase == course["phase"] == Phase.CATAPULT
    numbers = [float(n) for n in re.findall(r"\d\S*", evidence)]
    shown = [course[name] for name in ("w_peak", "w_end", "loss_peak", "loss_end")]
    assert numbers == pytest.approx(shown, rel=0.006)  # three digits are printed


def test_only_its_own_page_carries_the_explorer(built_book: Path) -> None:
    pages = [p for p in built_book.rglob("*.html") if "phaseExplorer" in p.read_text("utf8")]
    assert pages == [built_book / "phases.html"]


@pytest.fixture
def explorer(browser: Browser, built_book: Path) -> Iterator[Page]:
    with reading(browser) as reader:
        reader.look(built_book / "phases.html")
        yield reader.page


def sentence(page: Page) -> str:
    """Return what the page says of the phase, to the eye and to a screen reader."""
    return page.locator("#phase-explorer [aria-live=polite]").inner_text().strip()


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_arrow_keys_drive_the_noise_through_all_phases(
    browser: Browser, built_book: Path, width: int, dark: bool
) -> None:
    with reading(browser, width, dark) as reader:
        page = reader.page
        page.goto((built_book / "phases.html").as_uri())
        assert sentence(page).startswith("catapult: ")
        slider = page.locator("#explorer-sigma_eps")
        slider.press("Home")
        said = [sentence(page)]
        assert slider.evaluate("slider => getComputedStyle(slider).outlineStyle") == "solid"
        for _ in range(int(slider.get_attribute("max") or 0)):
            page.keyboard.press("ArrowRight")
            said.append(sentence(page))
        assert slider.get_attribute("aria-valuetext") == "100"
        assert page.evaluate(OVERFLOW) == 0
        assert not reader.complaints
    assert list(dict.fromkeys(each.split(":")[0] for each in said)) == list(Phase)
    assert all("times" in each or "left all bounds" in each for each in said)


def test_examples_do_what_they_are_called(explorer: Page) -> None:
    expected = {phase: phase for phase in Phase} | {
        "late catapult": "catapult", "no noise": "decoupled", "no fluctuations": "catapult"
    }  # fmt: skip
    buttons = explorer.locator("#phase-explorer button")
    assert buttons.all_inner_texts() == list(expected)
    for button, phase in zip(buttons.all(), expected.values(), strict=True):
        button.press("Enter")
        assert sentence(explorer).startswith(f"{phase}: ")
        assert button.get_attribute("aria-pressed") == "true"
        pressed = explorer.locator("#phase-explorer button[aria-pressed=true]")
        assert pressed.count() == 1


def test_point_and_curves_follow_the_chosen_time(explorer: Page) -> None:
    point, time = explorer.locator("#phase-explorer .point"), explorer.locator("#explorer-time")
    read = explorer.locator("#phase-explorer [data-name=u]")
    start = point.get_attribute("cx"), point.get_attribute("cy")
    assert read.inner_text() == "0.1"
    time.press("End")
    assert time.get_attribute("aria-valuetext") == "step 4000"
    assert float(read.inner_text()) < 0.01
    assert (point.get_attribute("cx"), point.get_attribute("cy")) != start


def test_last_run_stays_as_a_ghost(explorer: Page) -> None:
    path = explorer.locator("#phase-explorer polyline.path:not(.ghost)")
    ghost = explorer.locator("#phase-explorer polyline.path.ghost")
    assert ghost.count() == 0
    before = path.get_attribute("points")
    explorer.get_by_role("button", name="decay", exact=True).click()
    assert ghost.get_attribute("points") == before != path.get_attribute("points")


def test_borders_on_the_slider_are_those_of_the_theory(explorer: Page) -> None:
    slider = explorer.locator("#explorer-sigma_eps")
    places = explorer.locator("#phase-explorer .bands i").evaluate_all(
        "marks => marks.map(mark => parseFloat(mark.style.left) / 100)"
    )
    last = int(slider.get_attribute("max") or 0)
    strengths = [0.01 * 10 ** ((place * last - 1) / 40) for place in places]  # the first one is 0
    named = explorer.inner_text("#phase-explorer .borders")
    borders = [float(n) for n in re.findall(r"(?:= |above )(\d[\d.]*\d)", named)]
    assert len(borders) == 3
    assert strengths == pytest.approx(borders, rel=0.02)  # slider values have three digits


def test_nothing_is_drawn_with_a_negative_size_where_there_is_no_room(explorer: Page) -> None:
    explorer.evaluate(
        """() => {
          const root = document.querySelector("#phase-explorer");
          root.style.width = "30px";
          root.querySelector("input").dispatchEvent(new Event("input", { bubbles: true }));
        }"""
    )
    assert explorer.locator("svg [width^='-'], svg [height^='-']").count() == 0


def test_a_move_of_a_slider_is_drawn_at_once(explorer: Page) -> None:
    moves = explorer.evaluate(
        """() => Array.from({ length: 30 }, (_, k) => {
          const slider = document.querySelector("#explorer-seed"), start = performance.now();
          const drawing = document.querySelector("#phase-explorer svg.course");
          const before = drawing.innerHTML;
          slider.value = k + 1;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
          return [drawing.innerHTML !== before, performance.now() - start];
        })"""
    )
    drawn, spent = zip(*moves, strict=True)
    assert all(drawn)
    # Milliseconds for 4000 steps: 8 on an idle core, and the quickest of 30 is about that on any.
    assert min(spent) < 200


def test_without_scripts_the_page_says_what_is_missing(browser: Browser, built_book: Path) -> None:
    with reading(browser, scripts=False) as reader:
        reader.page.goto((built_book / "phases.html").as_uri())
        shown = reader.page.inner_text("#phase-explorer")
    assert shown.startswith("The explorer needs JavaScript.")
