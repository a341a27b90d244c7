"""The run browser: its data against the records, and its page in a browser."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser
from test_browser import OVERFLOW, reading

from nin.companion.run_browser import FAMILIES, SEEDS, browser_script, thinned, times_by_definition
from nin.runs.history import History
from nin.runs.phases import Phase, most_common_phase
from nin.studies.run import recorded


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    script = browser_script()
    assert len(script) < 300_000  # bytes
    return json.loads(script.removeprefix("globalThis.ninRuns = ").removesuffix(";\n"))


def exponential(tau: float, seed: int) -> History:
    step = np.arange(500)
    noise = np.random.default_rng(seed).standard_normal((2, len(step)))
    fall = np.exp(-step / tau)
    loss = fall * (1 + 1e-4 * noise[0])
    return History(
        steps_per_epoch=500, step=step, loss=loss, accuracy=fall,
        norms={"w_ni": 3 * fall * (1 + 1e-4 * noise[1])}, eval_step=step, train_loss=loss,
        train_accuracy=fall, val_loss=loss, val_accuracy=fall, diverged_step=None,
        last_finite_loss=float(loss[-1]),
    )  # fmt: skip


def test_all_definitions_give_the_time_of_an_exponential() -> None:
    runs = [exponential(40.0, seed) for seed in SEEDS]
    for times in times_by_definition(runs).values():
        assert [len(each) for each in times] == [3, 3, 3, 1]
        # The noise of 1e-4 moves the slope at the start most: it is that of a few records.
        np.testing.assert_allclose(np.concatenate(times), 40.0, rtol=0.01)


def test_thinned_run_keeps_the_first_steps_and_the_last() -> None:
    found = thinned(exponential(40.0, 0))
    assert found["step"][:10] == list(range(10))
    assert found["step"][-1] == 499
    np.testing.assert_allclose(found["w_ni"], np.exp(-np.array(found["step"]) / 40), rtol=2e-3)


def test_page_shows_the_runs_on_record(data: dict[str, Any]) -> None:
    for name, family in FAMILIES.items():
        shown = data["families"][name]
        assert len(shown["runs"]) == len(family.kinds) * len(family.K) * len(SEEDS)
        k = len(family.K) // 2
        runs = recorded([replace(family.strengths[k], seed=s) for s in SEEDS], family.page)
        mine = shown["runs"][k * len(SEEDS) : (k + 1) * len(SEEDS)]
        for run, theirs in zip(mine, runs, strict=True):
            w_ni = theirs.w_ni[np.isin(theirs.step, run["step"])] / theirs.w_ni[0]
            np.testing.assert_allclose(run["w_ni"], w_ni, rtol=1e-3)  # four digits


def test_one_slider_moves_all_figures(browser: Browser, built_book: Path) -> None:
    with reading(browser) as reader:
        page = reader.page
        page.goto((built_book / "runs.html").as_uri())
        slider = page.locator("#browser-K")
        charts = page.locator(".run-browser .chart > svg")
        assert charts.count() == 5
        slider.press("End")
        before, said = charts.evaluate_all("all => all.map(svg => svg.innerHTML)"), []
        for _ in range(int(slider.get_attribute("max") or 0)):
            page.keyboard.press("ArrowLeft")
            said.append(page.inner_text(".run-browser .say").splitlines())
        after = charts.evaluate_all("all => all.map(svg => svg.innerHTML)")
        assert all(a != b for a, b in zip(before, after, strict=True))
        for name in ("Fig. 1 (right):", "Fig. 3:"):
            words = " ".join(line for lines in said for line in lines if name in line)
            assert all(phase in words for phase in Phase), name
        assert not reader.complaints
        assert page.evaluate(OVERFLOW) == 0


def test_phase_that_the_page_says_is_that_of_the_records(
    browser: Browser, built_book: Path
) -> None:
    family = FAMILIES["fig3"]
    e = family.strengths[family.K.index(1.0)]
    runs = recorded([replace(e, seed=seed) for seed in SEEDS], family.page)
    phase, count = most_common_phase(runs)
    with reading(browser, width=390, dark=True) as reader:
        page = reader.page
        page.goto((built_book / "runs.html").as_uri())
        slider = page.locator("#browser-K")
        slider.press("Home")
        while slider.get_attribute("aria-valuetext") != "K = 1":
            page.keyboard.press("ArrowRight")
        said = page.inner_text(".run-browser .say").splitlines()[-1].strip()
        assert said.startswith("Fig. 3: K = 1,")
        assert said.endswith(f"{phase} ({count} of 3 seeds)")
        assert page.evaluate(OVERFLOW) == 0


def test_definition_of_the_decay_time_changes_the_curve(browser: Browser, built_book: Path) -> None:
    with reading(browser) as reader:
        page = reader.page
        page.goto((built_book / "runs.html").as_uri())
        curve = page.locator(".run-browser .chart > svg").first.locator(".curves polyline").first
        drawn = []
        for option in page.locator(".run-browser option").all():
            page.select_option(".run-browser select", option.get_attribute("value") or "")
            drawn.append(curve.get_attribute("points"))
        assert len(set(drawn)) == 4
