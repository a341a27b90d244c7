"""Pages as a reader sees them: opened from disk in Chromium, with the network off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from select import select
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
SECONDS_TO_ANSWER = 60  # a page takes about one; a busy machine may take many

# Run in the page once it has loaded; MathJax promises to be done with its equations.
LOOK = """
(async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const images = [...document.images].filter(image => !image.closest(".sidebar-primary"));
  images.forEach(image => { image.loading = "eager"; });
  await Promise.allSettled(images.map(image => image.decode()));
  const boxes = [...document.querySelectorAll("mjx-container")].map(e => e.getBoundingClientRect());
  return {
    sources: document.querySelectorAll(".math").length,
    equations: boxes.length,
    empty_equations: boxes.filter(box => box.width < 1 || box.height < 1).length,
    equation_errors: [...document.querySelectorAll("[data-mjx-error]")]
      .map(e => e.getAttribute("data-mjx-error")),
    broken_images: images.filter(image => !image.naturalWidth).map(image => image.src),
    raw_tex: /\\\\[\\[(]/.test(document.querySelector("main").innerText),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
})()
"""


class Browser:
    """Chromium, driven over its DevTools pipe; nothing but the standard library is needed."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        """Attach to one new tab."""
        self.process, self.to, self.back = process, to, back
        self.ids, self.buffer, self.session = count(1), b"", None
        self.events: list[dict[str, Any]] = []
        tab = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=tab, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        off = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.ask("Network.emulateNetworkConditions", **off)

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select([self.back], [], [], SECONDS_TO_ANSWER)
            assert ready, f"no word from the browser for {SECONDS_TO_ANSWER} s"
            got = os.read(self.back, 1 << 20)
            assert got, "the browser has gone"
            self.buffer += got
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its result; events that come first are kept."""
        number = next(self.ids)
        message = {"id": number, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer.get('error')}"
        return answer["result"]

    def look(self, page: Path, width: int = 1200, dark: bool = False) -> dict[str, Any]:
        """Open `page` and return what is in it, what it asked for, and what it complained of."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **screen)
        self.events.clear()
        self.ask("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())
        found = self.ask("Runtime.evaluate", expression=LOOK, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"]["value"] | self.traffic_and_complaints()

    def traffic_and_complaints(self) -> dict[str, list[str]]:
        requests, complaints = [], []
        for event in self.events:
            what = event.get("params", {})
            match event["method"]:
                case "Network.requestWillBeSent":
                    requests.append(what["request"]["url"])
                case "Runtime.exceptionThrown":
                    complaints.append(str(what["exceptionDetails"]))
                case "Runtime.consoleAPICalled" if what["type"] in {"error", "warning"}:
                    complaints.append(str(what["args"]))
                case "Log.entryAdded" if what["entry"]["level"] in {"error", "warning"}:
                    complaints.append(str(what["entry"]))
        outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
        return {"outside": outside, "complaints": complaints}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        missing = "no Chromium on this machine (Debian: apt-get install chromium)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with ExitStack() as stack:
        their_in, to = os.pipe()
        back, their_out = os.pipe()
        for descriptor in (to, back):
            stack.callback(os.close, descriptor)
        options = [
            "--headless", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
            "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
        ]  # fmt: skip
        if os.geteuid() == 0:
            options.append("--no-sandbox")  # the sandbox refuses to run as root
        # The browser reads commands on descriptor 3 and answers on 4.
        shell = f'exec 3<&{their_in} 4>&{their_out}; exec "$@"'
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "bash", CHROMIUM, *options],
            pass_fds=(their_in, their_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in), os.close(their_out)
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield Browser(process, to, back)


@pytest.fixture(scope="module")
def seen(browser: Browser, built_book: Path) -> dict[str, dict[str, Any]]:
    """What the browser finds on every chapter: on a screen, and in the dark on a phone."""
    sources = built_book / "_sources"
    chapters = [path.relative_to(sources) for path in sorted(sources.rglob("*.*"))]
    assert chapters, f"no chapter in {built_book}"
    found = {}
    for chapter in chapters:
        page = (built_book / chapter).with_suffix(".html")
        found[f"{chapter}"] = browser.look(page)
        found[f"{chapter} on a phone"] = browser.look(page, width=390, dark=True)
    return found


def those(seen: dict[str, dict[str, Any]], what: str) -> dict[str, Any]:
    return {page: facts[what] for page, facts in seen.items() if facts[what]}


def test_no_page_asks_the_network(seen: dict[str, dict[str, Any]]) -> None:
    assert not those(seen, "outside")


def test_no_page_complains_in_the_console(seen: dict[str, dict[str, Any]]) -> None:
    assert not those(seen, "complaints")


def test_every_equation_is_drawn(seen: dict[str, dict[str, Any]]) -> None:
    assert sum(facts["equations"] for facts in seen.values()) > 0
    short = {p: f for p, f in seen.items() if f["equations"] < f["sources"]}
    assert not short
    assert not those(seen, "empty_equations")
    assert not those(seen, "equation_errors")
    assert not those(seen, "raw_tex")


def test_every_figure_is_drawn(seen: dict[str, dict[str, Any]]) -> None:
    assert not those(seen, "broken_images")


def test_no_page_is_wider_than_its_screen(seen: dict[str, dict[str, Any]]) -> None:
    assert not those(seen, "overflow")
