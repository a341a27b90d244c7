"""Steps per second of the network that trains in the book's page, in Node, all records included.

    python benchmarks/live.py [--rounds 5]

Times are those of the processor, so that other work on the machine counts little; the best round
counts. The page itself adds reports and drawing, which run beside it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from nin.companion.explorer import rule_module
from nin.companion.live import images_script, package_module

MODULES = Path(__file__).resolve().parents[1] / "book" / "_ext" / "live"
PROGRAM = """
import "./images.js";
import { unpacked } from "./images.mjs";
import { DEFAULT } from "./settings.mjs";
import { startRun } from "./training.mjs";

const images = await unpacked(globalThis.ninImages), spent = [];
for (let round = 0; round < Number(process.argv[2]); round++) {
  const run = startRun({ ...DEFAULT, sigma_eps: 15 }, images), before = process.cpuUsage().user;
  while (!run.done) run.advance();
  spent.push((process.cpuUsage().user - before) / 1e6 / run.total);
}
console.log(`
page: 196-64-10, batch 100, 20 epochs; best of ${spent.length}
               steps/s
node  ${Math.round(1 / Math.min(...spent)).toString().padStart(16)}`);
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder) / "live"
        shutil.copytree(MODULES, at)
        written = {"package.mjs": package_module(), "rule.mjs": rule_module()}
        written |= {"images.js": images_script(), "benchmark.mjs": PROGRAM}
        for name, content in written.items():
            (at / name).write_text(content, encoding="utf8")
        subprocess.run(["node", at / "benchmark.mjs", str(rounds)], check=True)


if __name__ == "__main__":
    main()
