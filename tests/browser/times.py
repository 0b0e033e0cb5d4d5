"""How long a page of a thousand records takes to render, to open and to react; run by hand on a quiet machine.

python -m tests.browser.times
"""

import tempfile
import time
from pathlib import Path

from ablations.harness.store import MachineResults
from ablations.report.render import render
from tests.browser.opened import DESK, drawn, opened, started
from tests.report import records

CHART = "testbench-cpu-sequence_length-model-chart"
TOGGLE = """async id => {
    const box = document.getElementById(id).querySelector('.variants input');
    const begun = performance.now();
    box.click();
    await new Promise(resume => requestAnimationFrame(() => setTimeout(resume)));
    return (performance.now() - begun) / 1000;
}"""


def thousand() -> MachineResults:
    """A machine of about a thousand records."""
    lengths = (256, 512, 1024, 2048, 4096, 8192)
    experiments = {
        "sequence_length": records.grid("sequence_length", length=lengths, seeds=range(5)),
        "hash_rounds": records.grid("hash_rounds", n_hashes=(1, 2, 4, 8), seeds=range(3)),
        "depth": records.grid("depth", n_layers=(1, 2, 4, 8), seeds=range(4)),
        "learn_enwik8": records.grid("learn_enwik8", workloads=(records.LEARN,), seeds=range(4)),
    }
    return records.machine(experiments)


def main() -> None:
    """Print the three times and the size of the page."""
    results = thousand()
    with tempfile.TemporaryDirectory() as folder, started() as browser:
        begun = time.perf_counter()
        page = render([results], Path(folder))
        print(f"{len(results.records)} records rendered in {time.perf_counter() - begun:.2f} s")
        print(f"{page.stat().st_size / 1e6:.2f} MB")
        begun = time.perf_counter()
        with opened(browser, page, **DESK) as found:
            print(f"opened in {time.perf_counter() - begun:.2f} s")
            drawn(found.page, CHART)
            print(f"first chart drawn {time.perf_counter() - begun:.2f} s after that began")
            toggles = [found.page.evaluate(TOGGLE, CHART) for _ in range(10)]
            print(f"slowest of ten toggles {max(toggles):.3f} s")


if __name__ == "__main__":
    main()
