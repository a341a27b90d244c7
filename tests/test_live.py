"""The live network: its modules in Node against PyTorch, and its page in a browser."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from papermill import inspect_notebook
from playwright.sync_api import Browser, Page
from test_browser import OVERFLOW, reading

import nin.__main__ as command_line
from nin.companion import live
from nin.companion.explorer import rule_module
from nin.curvature import local_loss
from nin.networks import MLP, Loss, attach, find_node, generator, train
from nin.networks.training import DENSE_STEPS
from nin.runs.history import History
from nin.runs.phases import Phase, classify_phase, phase_index
from nin.studies.borders import noise_only
from nin.studies.memorisation import with_wrong_labels

ROOT = Path(__file__).resolve().parents[1]
NODE = shutil.which("node")
EVALUATIONS = 5
DEFAULT: dict[str, Any] = {
    "sigma_eps": 15.0, "kind": "fresh", "loss": "ce", "layer": 0, "width": 64, "depth": 1,
    "eta": 0.05, "batch_size": 100, "epochs": 7, "wrong": 0.0, "seed": 0,
}  # fmt: skip
SETTINGS = [
    DEFAULT,
    DEFAULT | {"sigma_eps": 0.0, "seed": 11},
    DEFAULT | {"loss": "mse", "eta": 0.1, "sigma_eps": 3.0},
    DEFAULT | {"kind": "fixed", "wrong": 0.5},
    DEFAULT | {"layer": 1, "seed": 2},  # of ten units: PyTorch draws fewer than 16 otherwise
    DEFAULT | {"depth": 2, "layer": 1, "width": 48},
    DEFAULT | {"depth": 3, "layer": 2, "width": 33, "loss": "mse"},
    DEFAULT | {"depth": 3, "kind": "fixed", "wrong": 1.0, "width": 20},
    DEFAULT | {"batch_size": 130, "epochs": 9, "seed": 5},  # does not divide 3000, nor by four
]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules of the page, with the one that the package writes, for Node."""
    folder = tmp_path_factory.mktemp("live") / "modules"
    shutil.copytree(ROOT / "book" / "_ext" / "live", folder)
    (folder / "package.mjs").write_text(live.package_module(), encoding="utf8")
    (folder / "rule.mjs").write_text(rule_module(), encoding="utf8")
    (folder / "images.js").write_text(live.images_script(), encoding="utf8")
    return folder


MODULES = ("training", "phases", "prediction", "streams", "settings")


def in_node(modules: Path, expression: str, data: object = None) -> Any:
    """Return an expression of `data`, of the images and of what the modules export."""
    if NODE is None:
        missing = "no Node on this machine (Debian: apt-get install nodejs)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    at = modules.as_uri()
    program = "".join(f'import * as {name} from "{at}/{name}.mjs";\n' for name in MODULES)
    program += (
        f'import "{at}/images.js";\nimport {{ unpacked }} from "{at}/images.mjs";\n'
        f"const images = await unpacked(globalThis.ninImages), data = {json.dumps(data)};\n"
        f"process.stdout.write(JSON.stringify({expression}));"
    )
    done = subprocess.run(
        [NODE, "--input-type=module", "-"],
        input=program, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def network(setting: dict[str, Any]) -> MLP:
    model = MLP(196, setting["width"], setting["depth"], seed=setting["seed"])
    layer, fixed = f"layers.{setting['layer']}", setting["kind"] == "fixed"
    attach(model, layer, setting["sigma_eps"], fixed=fixed, seed=setting["seed"])
    return model


@dataclasses.dataclass
class Curvature:
    """Sees w^T <H> w / |w|^2 of each batch, by automatic differentiation."""

    setting: dict[str, Any]
    steps: range
    seen: list[float] = dataclasses.field(default_factory=list)

    def see(self, run: int, step: int, model: MLP, x: Any, y: Any, eps: Any) -> None:
        layer = f"layers.{self.setting['layer']}"
        w = model.get_submodule(layer).nin.w_ni.detach()
        local = local_loss(model, layer, x, y, Loss(self.setting["loss"]))
        self.seen.append(float(w @ local.mean_product(w) / w.square().sum()))


RUN = """data.map((setting) => {
  const run = training.startRun(setting, images);
  while (!run.done) run.advance();
  return { ...run.course, found: phases.classify(run.course) };
})"""


def test_images_are_those_of_the_package(modules: Path) -> None:
    pixels, labels = in_node(modules, "[[...images.pixels], [...images.labels]]")
    data = live.small_data()
    x, y = torch.cat([data.train_x, data.val_x]), torch.cat([data.train_y, data.val_y])
    assert torch.equal(torch.tensor(pixels).view_as(x), x)
    assert torch.equal(torch.tensor(labels), y)
    assert (modules / "images.js").stat().st_size < 700_000


def test_random_numbers_are_those_of_the_package(modules: Path) -> None:
    asked = [[0, "weights"], [7, "w_ni"], [123, "batches", 4], [0, "labels"]]
    call = """data.map((name) => [
      ...[10, 16, 37, 640].map((n) => [...streams.stream(...name).normals(n)]),
      [...streams.stream(...name).permutation(3000)],
      [...streams.stream(...name).uniforms(50)],
      [...streams.stream(...name).integers(10, 50)],
    ])"""
    for name, found in zip(asked, in_node(modules, call, asked), strict=True):
        *normals, order, uniforms, integers = found
        for values in normals:
            theirs = torch.randn(len(values), generator=generator(*name))
            # Logarithm, sine and cosine of vector instructions are off by a few units in the last
            # place, more so where the sine is small.
            np.testing.assert_allclose(values, theirs, rtol=1e-5, atol=2e-6)
        assert order == torch.randperm(3000, generator=generator(*name)).tolist()
        assert uniforms == torch.rand(50, generator=generator(*name)).tolist()
        assert integers == torch.randint(10, (50,), generator=generator(*name)).tolist()


def in_python(setting: dict[str, Any], observer: Curvature | None = None) -> History:
    data = with_wrong_labels(live.small_data(), live.N_TRAIN, setting["wrong"])
    [history] = train(
        [network(setting)], data, loss=setting["loss"], eta=setting["eta"],
        batch_size=setting["batch_size"], epochs=setting["epochs"], seeds=[setting["seed"]],
        evaluations=EVALUATIONS, observer=observer,
    )  # fmt: skip
    return history


def test_page_takes_the_steps_of_the_package(modules: Path) -> None:
    for setting, course in zip(SETTINGS, in_node(modules, RUN, SETTINGS), strict=True):
        observer = Curvature(setting, range(0, DENSE_STEPS, 20))
        theirs = in_python(setting, observer)
        assert course["step"] == theirs.step.tolist()
        assert course["eval_step"] == theirs.eval_step.tolist()
        assert len(course["step"]) > DENSE_STEPS
        after = theirs.norms.get(f"layers.{setting['layer'] + 1}.weight")
        expected = {"loss": theirs.loss, "w_ni": theirs.w_ni, "next": after}
        expected |= {"train_loss": theirs.train_loss, "test_loss": theirs.val_loss}
        expected |= {"accuracy": theirs.accuracy, "test_accuracy": theirs.val_accuracy}
        for name, values in expected.items():
            if values is None:  # the node is at the last layer
                assert set(course[name]) == {None}
                continue
            # Some 200 steps of float32, each rounding to 6e-8; the largest difference is 5e-7.
            np.testing.assert_allclose(course[name], values, rtol=3e-6, atol=1e-7, err_msg=name)
        curvature = course["curvature"][:DENSE_STEPS:20]
        # A ratio of sums over samples, of weights that differ as above.
        np.testing.assert_allclose(curvature, observer.seen, rtol=1e-5)
        rate = setting["eta"] * setting["sigma_eps"] ** 2 * np.array(course["curvature"])
        np.testing.assert_allclose(course["rate"], rate)
        assert course["found"]["phase"] == classify_phase(theirs).phase


def test_page_names_the_phase_of_the_package_where_runs_are_chaotic(modules: Path) -> None:
    settings = [DEFAULT | {"sigma_eps": s, "seed": 1} for s in (50.0, 150.0)]
    for setting, course in zip(settings, in_node(modules, RUN, settings), strict=True):
        theirs = in_python(setting)
        # A catapult multiplies differences by ten in some steps: the first ones are still alike.
        np.testing.assert_allclose(course["w_ni"][:8], theirs.w_ni[:8], rtol=1e-4)
        assert course["found"]["phase"] == classify_phase(theirs).phase
    assert course["found"]["phase"] == Phase.DIVERGENT


def test_page_predicts_the_phases_of_the_noise_only_network(modules: Path) -> None:
    strengths = [10.0, 30.0, 45.0, 70.0, 90.0, 150.0]
    steps = DEFAULT["epochs"] * 30
    call = f"data.map((s) => prediction.noiseOnlyPhase({json.dumps(DEFAULT)}, s, {steps}))"
    theirs = in_node(modules, call, strengths)
    for strength, found in zip(strengths, theirs, strict=True):
        model = network(DEFAULT | {"sigma_eps": strength})
        blind = MLP(1, DEFAULT["width"])
        attach(blind, "layers.0", strength)
        state = {k: v for k, v in model.state_dict().items() if k != "layers.0.weight"}
        blind.load_state_dict(state, strict=False)
        assert found == noise_only_phase(blind, strength, steps)
    assert set(theirs) >= {2, 3}


def noise_only_phase(model: MLP, sigma_eps: float, steps: int) -> int:
    """Train by automatic differentiation on the noise alone; return the phase's position."""
    eps = sigma_eps * noise_only.quantiles("gaussian").repeat_interleave(10)
    x, y = torch.zeros(len(eps), 1), torch.arange(10).repeat(len(eps) // 10)
    node = find_node(model)[1]
    w, losses = [], []
    for _ in range(steps):
        node.eps = eps
        loss = torch.nn.functional.cross_entropy(model(x), y)
        w.append(float(node.w_ni.detach().norm()))
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            return 3
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(DEFAULT["eta"] * gradient)
    numbers = (
        max(w) / w[0],
        w[-1] / w[0],
        max(losses) / losses[0],
        np.median(losses[-10:]) / losses[0],
    )
    return int(phase_index(*map(np.asarray, (*numbers, False))))


def test_decay_begins_where_eq_2_with_the_whole_hessian_says(modules: Path) -> None:
    call = "prediction.decayBorder(data, images.pixels.subarray(0, 196 * 100), 100)"
    found = in_node(modules, call, DEFAULT)
    data, model = live.small_data(), network(DEFAULT)
    local = local_loss(model, "layers.0", data.train_x[:100], data.train_y[:100], Loss("ce"))
    values, vectors = torch.linalg.eigh(local.mean_hessian().double())
    start = vectors.T @ find_node(model)[1].w_ni.detach().double()
    time = DEFAULT["eta"] * found**2 * DEFAULT["epochs"] * 30
    left = (start * torch.exp(-time * values)).norm() / start.norm()
    assert float(left) == pytest.approx(0.5, rel=0.02)  # of a first-order integration


@pytest.mark.parametrize("wrong", [0, 0.2])
def test_commands_of_the_page_are_understood(modules: Path, wrong: float) -> None:
    setting = DEFAULT | {"sigma_eps": 40.0, "layer": 1, "kind": "fixed", "wrong": wrong, "seed": 3}
    papermill, *run = in_node(modules, "settings.commands(data)", setting)
    page, given = papermill.split()[1], re.findall(r"-[py] '?(\w+)", papermill)
    assert set(given) <= set(inspect_notebook(str(ROOT / page)))
    if not wrong:
        [words] = [shlex.split(command) for command in run]
        assert words[:3] == [".venv/bin/python", "-m", "nin"]
        options = command_line._parser().parse_args(words[3:])
        e = command_line._experiment(options, options.seed, options.sigma_eps, options.K)
        # z receives noise of sigma_eps w_ni with w_ni ~ 1/sqrt(d_in), at a rate eta.
        assert e.sigma_eps**2 * e.eta / 784 == pytest.approx(40**2 * 0.05 / 196, rel=1e-3)
        assert (e.layer, e.fixed, e.seed) == ("layers.1", True, 3)
        [sigma_eps] = re.findall(r"sigma_eps (\S+)", papermill)
        assert float(sigma_eps) == pytest.approx(e.sigma_eps, rel=1e-3)


def test_a_link_holds_the_setting_and_nothing_else_gets_in(modules: Path) -> None:
    there_and_back = "data.map((s) => settings.settingOf(settings.fragment(settings.valid(s))))"
    setting = DEFAULT | {"sigma_eps": 50, "epochs": 20, "kind": "fixed", "layer": 1, "seed": 4}
    odd = {"sigma_eps": "1e9", "width": "-3", "kind": "<b>", "layer": 3, "depth": 1}
    good, mended = in_node(modules, there_and_back, [setting, odd])
    assert good == setting
    assert mended == in_node(modules, "settings.DEFAULT") | {"layer": 1}
    assert in_node(modules, 'settings.settingOf("#eq-2")') is None


# ---- In a browser --------------------------------------------------------------------------------

DONE = """() => document.querySelector(".live").dataset.state === "done"
  && document.querySelector(".live .say strong").innerText"""
OFTEN = 100  # milliseconds between two looks; a look at each frame waits where none is drawn


def finished(page: Page) -> str:
    """Wait until a run that was asked for is done; return the phase that the page names."""
    return page.wait_for_function(DONE, polling=OFTEN).json_value()


def with_setting(built_book: Path, setting: dict[str, Any]) -> str:
    words = "&".join(f"{name}={value}" for name, value in setting.items())
    return f"{(built_book / 'live.html').as_uri()}#run:{words}"


QUICK = DEFAULT | {"epochs": 1, "batch_size": 1000}


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_arrow_keys_lead_through_the_four_phases_that_the_colours_predict(
    browser: Browser, built_book: Path, width: int, dark: bool
) -> None:
    with reading(browser, width, dark) as reader:
        page = reader.page
        page.goto((built_book / "index.html").as_uri())
        slider = page.locator("#live-strength")
        slider.press("Home")
        seen, said = {"0": finished(page)}, {}
        for _ in range(int(slider.get_attribute("max") or 0)):
            page.keyboard.press("ArrowRight")
            strength = page.inner_text(".live .strength output")
            if strength in ("1.4", "17", "53", "170"):
                seen[strength] = finished(page)
                page.wait_for_function(
                    "document.querySelector('.live .now').innerText", polling=OFTEN
                )
                said[strength] = slider.get_attribute("aria-valuetext")
        assert list(seen.values()) == ["decoupled", *Phase]
        for strength, text in said.items():
            assert text == f"{strength}, predicted: {seen[strength]}"
        assert slider.evaluate("slider => getComputedStyle(slider).outlineStyle") == "solid"
        assert page.evaluate(OVERFLOW) == 0
        assert page.locator("svg [width^='-'], svg [height^='-']").count() == 0
        assert not reader.complaints
        assert not reader.outside


def test_a_prediction_that_is_slower_than_the_runs_is_shown_when_it_comes(
    browser: Browser, built_book: Path
) -> None:
    slow = """Worker = class extends Worker {
      set onmessage(hear) {
        super.onmessage = (heard) => setTimeout(hear, heard.data.borders ? 4000 : 0, heard);
      }
    };"""
    with reading(browser) as reader:
        reader.page.add_init_script(slow)
        reader.page.goto(with_setting(built_book, QUICK))
        for _ in range(3):
            finished(reader.page)
            reader.page.get_by_role("button", name="Run").click()
        predicted = "document.querySelector('.live .now').innerText"
        reader.page.wait_for_function(predicted, polling=OFTEN)


def test_a_link_opened_elsewhere_reproduces_the_run_to_the_last_digit(
    browser: Browser, built_book: Path
) -> None:
    link, runs = with_setting(built_book, DEFAULT | {"sigma_eps": 50.0, "kind": "fixed"}), []
    for _ in range(2):
        with reading(browser) as reader:
            page = reader.page
            page.goto(link)
            assert finished(page) == "catapult"
            page.locator(".live .take summary").click()
            with page.expect_download() as download:
                page.get_by_role("button", name="JSON").click()
            runs.append(json.loads(download.value.path().read_text("utf8")))
            link = page.url
    assert len(runs[0]["course"]["loss"]) > DENSE_STEPS
    assert runs[0] == runs[1]


def test_files_hold_what_the_package_finds(browser: Browser, built_book: Path) -> None:
    setting = DEFAULT | {"sigma_eps": 5.0, "epochs": 2}
    theirs = in_python(setting)
    with reading(browser) as reader:
        reader.page.goto(with_setting(built_book, setting))
        finished(reader.page)
        reader.page.locator(".live .take summary").click()
        with reader.page.expect_download() as download:
            reader.page.get_by_role("button", name="CSV").click()
        about, *table = download.value.path().read_text("utf8").splitlines()
    assert "sigma_eps=5" in about
    rows = list(csv.DictReader(table))
    assert [int(row["step"]) for row in rows] == [*theirs.step, theirs.eval_step[-1]]
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    np.testing.assert_allclose(losses, theirs.loss, rtol=3e-6)


def test_images_load_at_the_first_touch_and_not_before(browser: Browser, built_book: Path) -> None:
    with reading(browser) as reader:
        asked: list[str] = []
        reader.page.on("request", lambda request: asked.append(request.url))
        reader.page.goto((built_book / "index.html").as_uri())
        names = reader.page.locator(".live .names")
        coloured = "document.querySelector('.live .bands').style.background"
        reader.page.wait_for_function(coloured, polling=OFTEN)
        assert "decoupled, then decay" in names.inner_text()
        assert not any(url.endswith("images.js") for url in asked)
        reader.page.get_by_role("button", name="Run", exact=True).click()
        assert finished(reader.page) == "decay"
        assert sum(url.endswith("images.js") for url in asked) == 1


def test_runs_are_kept_across_a_reload_and_forgotten_on_demand(
    browser: Browser, built_book: Path
) -> None:
    with reading(browser) as reader:
        page = reader.page
        page.goto(with_setting(built_book, QUICK))
        finished(page)
        page.goto((built_book / "live.html").as_uri())
        page.reload()
        page.locator(".live .kept summary").click()
        assert "σ = 15" in page.inner_text(".live .kept li")
        ghosts = page.locator(".live .ghost")
        assert ghosts.count() > 0
        page.locator(".live .kept input").uncheck()
        assert ghosts.count() == 0
        page.get_by_role("button", name="Forget them all").click()
        page.reload()
        assert page.inner_text(".live .kept .count") == "0"


def test_memory_does_not_grow_with_the_runs(browser: Browser, built_book: Path) -> None:
    with reading(browser) as reader:
        page = reader.page
        page.goto(with_setting(built_book, QUICK))
        finished(page)
        tools = page.context.new_cdp_session(page)

        def heap_after(runs: int) -> float:
            for k in range(runs):
                page.select_option(".live select[name=kind]", ["fixed", "fresh"][k % 2])
                finished(page)
            tools.send("HeapProfiler.collectGarbage")
            return tools.send("Runtime.getHeapUsage")["usedSize"]

        page.locator(".live .more summary").click()
        first = heap_after(10)
        assert heap_after(40) < first + 1e6  # bytes: a run that was not let go is 20 kB or more
        assert len(page.workers) == 2
        assert page.evaluate("JSON.parse(localStorage['nin-live-runs']).length") == 2


def test_a_step_of_the_path_answers_after_the_prediction_and_the_run(
    browser: Browser, built_book: Path
) -> None:
    with reading(browser) as reader:
        page = reader.page
        page.goto((built_book / "index.html").as_uri())
        seen = page.locator(".live .seen")
        for name, answer, word in (
            ("Raise the noise", "shrinks", "decay"),
            ("Cross 2", "both grow for ever", "catapult"),
        ):
            assert page.inner_text(".live .steps strong") == name
            assert seen.inner_text() == ""
            page.get_by_label(answer).check()
            next_step = page.get_by_role("button", name="Next step")
            next_step.wait_for()
            assert seen.inner_text().startswith("As you said" if word == "decay" else "Not this")
            assert word in seen.inner_text()
            next_step.press("Enter")
        assert page.inner_text(".live .steps strong") == "Cross 4"


def test_without_scripts_the_page_says_what_is_missing(browser: Browser, built_book: Path) -> None:
    with reading(browser, scripts=False) as reader:
        reader.page.goto((built_book / "live.html").as_uri())
        assert reader.page.inner_text(".live").startswith("The live network needs JavaScript.")
