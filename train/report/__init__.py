"""`python -m train report`: everything that quotes a number, written from what was measured.

`weights/results.json` and `weights/benchmark.json` hold the numbers; README's block, `docs/results.md`, the
models' configs and cards and the figures are drawn from them. Running it twice changes nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lgg.files import write_text
from lgg.models import GATE
from lgg.postprocess import Gating
from lgg.weights import REPOSITORY_WEIGHTS, ModelConfig, available, load_config, save_config
from train.ablation import ABLATIONS, load_runs
from train.evaluation.benchmark import load_benchmark, table
from train.evaluation.evaluate import Protocol, Row
from train.evaluation.results import TIMING, Results, load_results, save_results, summary
from train.report.figures import draw_figures
from train.report.model_card import write_card
from train.report.tables import (
    ablation_table,
    failures,
    gate_mode_table,
    gate_report,
    group_tables,
    headline_tables,
    leak,
    mode_table,
    networks,
    patient_table,
    published_table,
    threshold_table,
    title,
)

ROOT = REPOSITORY_WEIGHTS.parent
README, PAGE = ROOT / "README.md", ROOT / "docs" / "results.md"
#: The same page in a folder of somebody's own weights.
OWN_PAGE = "results.md"
BLOCK = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)
PROTOCOLS: dict[Protocol, str] = {
    "patient": "no patient of the test side was trained or chosen on",
    "fold": "five folds; each patient is judged by networks that never saw it",
    "slice": "**leaky**: all slices shuffled, so a patient's neighbouring slices stand on both sides",
    "external": "patients of another data set",
}
CONDITIONS = (
    "Hard gate, volume statistics{neighbours}, thresholds from the validation side, no test-time "
    "augmentation; 95 % intervals by bootstrap over patients"
)
#: Slices picked one by one have none.
NEIGHBOURS = ", components that no neighbouring slice confirms left out"
ABLATED = (
    "Each line is the recipe with one thing changed, trained on the same budget, far below the recipe's, and "
    "judged on the validation patients: no gate, threshold 0.5, volume statistics but where said. *Change* "
    "is against the recipe by the same seeds, patient by patient, with its 95 % interval over patients. What "
    "thresholds, gate modes and TTA are worth on the trained networks stands above, mode by mode."
    " A short budget favours what learns fast: over a whole training U-Net Lite0 was worse with less "
    "augmentation, as told above."
)
FIGURES = {
    "training": "Training: loss and measure on the validation side, epoch by epoch",
    "gate": "ROC and calibration of the gate",
    "patients": "Dice of each patient, ranked and against the tumour's size",
    "threshold": "Precision and recall over the mask's threshold",
}


def write_report(weights: Path = REPOSITORY_WEIGHTS, pages: bool = True) -> None:
    """Write it all.

    Args:
        pages: README and `docs/results.md`; without them the tables stand in the folder of weights alone.
    """
    results = with_times(load_results(weights / "results.json"), weights)
    save_results(results, weights / "results.json")
    for name in available(weights):
        config = load_config(weights / name)
        config = replace(config, metrics=_metrics(results, config))
        save_config(weights / name, config)
        write_card(weights / name, config)
    figures = draw_figures(results, weights, weights / "figures")
    drawn = [path.stem for path in figures]
    if not pages:
        write_text(weights / OWN_PAGE, results_page(results, weights, drawn, folder="figures"))
    else:
        write_text(PAGE, repository_page(results, weights, drawn))
        block = results_block(results, weights)
        write_text(README, BLOCK.sub(lambda _: block, README.read_text()))


def with_times(results: Results, weights: Path) -> Results:
    """The results with the benchmark's milliseconds a slice as rows: each cascade's, and the gate's."""
    speed = load_benchmark(weights / "benchmark.json")
    rows = [one for one in results.rows if not one.measure.startswith(TIMING)]
    if speed is None:
        return replace(results, rows=rows)
    device = "cuda" if "CPU" not in speed.hardware else "cpu"
    times: dict[str, tuple[Gating, float]] = {}
    for model, stages in speed.slice_ms.items():
        times[GATE] = "none", round(stages["preprocess"] + stages["gate"], 1)
        times[model] = "hard", stages["total"]
    for model, (gating, value) in times.items():
        recipe = next((one.recipe for one in rows if one.model == model and one.protocol == "patient"), "")
        measure = f"{TIMING}_{device}"
        rows.append(Row(model, "patient", gating, "slice", measure, value, None, None, 1, recipe))
    return replace(results, rows=rows)


def results_block(results: Results, weights: Path = REPOSITORY_WEIGHTS) -> str:
    """README's block: the headline by the honest protocol, what others report by it, and speed."""
    configs = _configs(weights)
    count = len({one.patient for one in results.patients if one.protocol == "patient"})
    parts = [
        f"**Patient split**: {count} test patients; {PROTOCOLS['patient']}. {_conditions('patient')}.",
        headline_tables(results, configs),
        published_table("patient"),
    ]
    if leaky := headline_tables(results, configs, "slice"):
        words = f"**Slice split**, {PROTOCOLS['slice']}. {leak(results)}"
        parts += [words, leaky, published_table("slice")]
    speed = load_benchmark(weights / "benchmark.json")
    if speed:
        parts.append(table(speed))
    return "\n\n".join(part for part in parts if part) + "\n"


def results_page(
    results: Results,
    weights: Path,
    figures: Sequence[str],
    note: str = "",
    folder: str = "../weights/figures",
) -> str:
    """`docs/results.md`: every protocol with all its tables, then the figures.

    Args:
        figures: names of those that were drawn, in `folder` as seen from the page.
        note: what must be known before the first table, if anything.
    """
    configs = _configs(weights)
    parts = [
        "# Results",
        "Written by `python -m train` from the JSON file of the same results, which holds every measure in "
        "every mode with its interval (`weights/results.json` for the weights that ship). Dice and shares "
        "are 0 to 1.",
    ]
    parts += [note] if note else []
    for protocol, promise in PROTOCOLS.items():
        headline = headline_tables(results, configs, protocol)
        if not headline:
            continue
        heading = f"## By {protocol}" + (" (leaky)" if protocol == "slice" else "")
        parts += [heading, f"{promise[0].upper()}{promise[1:]}. {_conditions(protocol)}.", headline]
        if protocol in ("patient", "slice"):
            parts += ["Published figures by the same kind of split:", published_table(protocol)]
        for one in results.gates:
            if one.protocol == protocol:
                parts += [f"### The gate ({one.recipe} recipe)", f"```\n{gate_report(one)}```"]
                parts += [gate_mode_table(results, protocol, one.recipe)]
        for model, recipe in networks(results, protocol):
            modes = mode_table(results, model, protocol, recipe)
            if modes.count("\n") > 1:
                parts += [f"### {title(model, recipe, results, protocol)} in every mode", modes]
        if masks := threshold_table(results, protocol):
            parts += ["### What the mask's threshold is worth", masks]
        if protocol == "slice":  # of some slices of a patient there is no volume
            continue
        if any(one.protocol == protocol for one in results.patients):
            parts += ["### By group: mean Dice of the volumes", group_tables(results, protocol)]
            parts += ["### Every patient: Dice of the volume", patient_table(results, protocol)]
        if poor := failures(results, protocol):
            parts += ["### Where it fails", poor]
    if figures:
        parts.append("## Figures")
        parts += [f"![{FIGURES[name]}]({folder}/{name}.png)" for name in figures]
    return "\n\n".join(parts) + "\n"


def repository_page(results: Results, weights: Path, figures: Sequence[str]) -> str:
    """The repository's own `docs/results.md`, on which ablations stand too."""
    page = results_page(results, weights, figures)
    if ablated := ablation_table(load_runs(weights / ABLATIONS.name)):
        page += f"\n## What each part of the recipe is worth\n\n{ABLATED}\n\n{ablated}\n"
    return page


def _configs(weights: Path) -> list[ModelConfig]:
    return [load_config(weights / name) for name in available(weights)]


def _metrics(results: Results, config: ModelConfig) -> dict[str, object]:
    protocol = str(config.split.get("protocol", "patient"))
    found = summary(results, config.architecture, protocol, str(config.training.get("recipe", "")))  # type: ignore[arg-type]
    return found or config.metrics


def _conditions(protocol: Protocol) -> str:
    return CONDITIONS.format(neighbours="" if protocol == "slice" else NEIGHBOURS)
