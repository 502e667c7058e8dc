"""`python -m train report`: everything that quotes a number, written from what was measured.

`weights/results.json` and `weights/benchmark.json` hold the numbers; README's block, `docs/results.md`, the
models' configs and cards and the figures are drawn from them. Running it twice changes nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lgg.files import write_text
from lgg.weights import REPOSITORY_WEIGHTS, ModelConfig, available, load_config, save_config
from train.ablation import ABLATIONS, load_runs
from train.evaluation.benchmark import load_benchmark, table
from train.evaluation.evaluate import HEADLINE, Protocol
from train.evaluation.results import Results, load_results, summary
from train.report import tables
from train.report.figures import draw_figures
from train.report.model_card import write_card

ROOT = REPOSITORY_WEIGHTS.parent
README, PAGE = ROOT / "README.md", ROOT / "docs" / "results.md"
#: The same page in a folder of somebody's own weights.
OWN_PAGE = "results.md"
BLOCK = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)
PROTOCOLS: dict[Protocol, str] = {
    "patient": "No patient of the test side was trained or chosen on.",
    "fold": "Five folds; each patient is judged by networks that never saw it.",
    "slice": "**Leaky**: all slices shuffled, so a patient's neighbouring slices stand on both sides.",
    "external": "Patients of another data set.",
}
CONDITIONS = "Hard gate, volume statistics{neighbours}, thresholds from the validation side, no TTA."
#: What is published of the same two networks, by slice.
REFERENCE = "reference, gate + U-Net"
#: What nothing at all scores by slice.
EMPTY = "an all-empty prediction"
#: Slices picked one by one have none.
NEIGHBOURS = ", components that no neighbouring slice confirms left out"
FIGURES = {
    "training": "Training: loss and measure on the validation side, epoch by epoch",
    "gate": "ROC and calibration of the gate",
    "patients": "Dice of each patient, ranked and against the tumour's size",
    "threshold": "Precision and recall over the mask's threshold",
}


def write_report(weights: Path) -> Path:
    """Write it all; of other weights than the repository's, README and `docs/` stay as they are.

    Returns:
        The page of tables.
    """
    results = load_results(weights / "results.json")
    for name in available(weights):
        config = load_config(weights / name)
        config = replace(config, metrics=_metrics(results, config))
        save_config(weights / name, config)
        write_card(weights / name, config)
    drawn = [path.stem for path in draw_figures(results, weights)]
    if weights.resolve() != REPOSITORY_WEIGHTS.resolve():
        write_text(weights / OWN_PAGE, results_page(results, weights, drawn))
        return weights / OWN_PAGE
    write_text(PAGE, results_page(results, weights, drawn, folder="../weights/figures"))
    block = results_block(results)
    write_text(README, BLOCK.sub(lambda _: block, README.read_text()))
    return PAGE.relative_to(ROOT)


def results_block(results: Results) -> str:
    """README's block: the segmenters by patient, the gate, and a word on leakage."""
    gates = tables.headline_rows(results, "patient", tables.GATE_COLUMNS)
    words = zip(tables.GATE_COLUMNS.values(), gates[0][2:] if gates else [], strict=False)
    recipe = dict(tables.networks(results, "slice")).get("unet", "")
    return tables.fill(
        "readme_results.md",
        patients=tables.judged(results, "patient"),
        folds=tables.judged(results, "fold"),
        table=tables.readme_table(results),
        gate=f"{gates[0][0]}: {', '.join(map(' '.join, words))}" if gates else "",
        by_slice=tables.select(results.rows, "unet", "slice", *HEADLINE, recipe),
        reference=_published(REFERENCE),
        empty=_published(EMPTY)["slice_all_268_125"],
    )


def results_page(
    results: Results, weights: Path, figures: Sequence[str], note: str = "", folder: str = "figures"
) -> str:
    """`docs/results.md`: every protocol with its headline, then speed, figures and ablations.

    Args:
        figures: names of those that were drawn, in `folder` as seen from the page.
        note: what must be known before the first table, if anything.
    """
    speed = load_benchmark(weights / "benchmark.json")
    return tables.fill(
        "results.md",
        note=note,
        sections=[
            {
                "protocol": protocol,
                "promise": promise,
                "conditions": CONDITIONS.format(neighbours="" if protocol == "slice" else NEIGHBOURS),
                "headline": headline,
                "confusion": [tables.confusion(gate) for gate in results.gates if gate.protocol == protocol],
                "published": tables.published_table(protocol),
                # Of some slices of a patient there is no volume.
                "modes": "" if protocol == "slice" else tables.modes_table(results, protocol),
                "groups": "" if protocol == "slice" else tables.group_table(results, protocol),
                "patients": "" if protocol == "slice" else tables.patient_table(results, protocol),
            }
            for protocol, promise in PROTOCOLS.items()
            if (headline := tables.headline_tables(results, protocol))
        ],
        listed=tables.LISTED,
        empty=_published(EMPTY)["slice_all_268_125"],
        speed=table(speed) if speed else "",
        figures={f"{folder}/{name}.png": FIGURES[name] for name in figures},
        ablations=tables.ablation_table(load_runs(weights / ABLATIONS.name)),
    )


def _published(who: str) -> dict[str, float]:
    """Measure → what is published of somebody's answers by slice."""
    return {row["measure"]: row["value"] for row in tables.published("slice") if row["who"] == who}


def _metrics(results: Results, config: ModelConfig) -> dict[str, object]:
    protocol = str(config.split.get("protocol", "patient"))
    recipe = str(config.training.get("recipe", ""))
    return summary(results, config.architecture, protocol, recipe) or config.metrics  # type: ignore[arg-type]
