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
from train.report.figures import draw_figures
from train.report.model_card import write_card
from train.report.tables import (
    GATE_COLUMNS,
    LISTED,
    ablation_table,
    confusion,
    fill,
    group_table,
    headline_rows,
    headline_tables,
    judged,
    modes_table,
    networks,
    patient_table,
    published,
    published_table,
    readme_table,
    select,
)

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
#: Slices picked one by one have none.
NEIGHBOURS = ", components that no neighbouring slice confirms left out"
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
    results = load_results(weights / "results.json")
    for name in available(weights):
        config = load_config(weights / name)
        config = replace(config, metrics=_metrics(results, config))
        save_config(weights / name, config)
        write_card(weights / name, config)
    drawn = [path.stem for path in draw_figures(results, weights, weights / "figures")]
    if pages:
        write_text(PAGE, results_page(results, weights, drawn, folder="../weights/figures"))
        block = results_block(results)
        write_text(README, BLOCK.sub(lambda _: block, README.read_text()))
    else:
        write_text(weights / OWN_PAGE, results_page(results, weights, drawn))


def results_block(results: Results) -> str:
    """README's block: the segmenters by patient, the gate, and a word on leakage."""
    gates = headline_rows(results, "patient", GATE_COLUMNS)
    words = zip(GATE_COLUMNS.values(), gates[0][2:] if gates else [], strict=False)
    recipe = dict(networks(results, "slice")).get("unet", "")
    return fill(
        "readme_results.md",
        patients=judged(results, "patient"),
        folds=judged(results, "fold"),
        table=readme_table(results),
        gate=f"{gates[0][0]}: {', '.join(map(' '.join, words))}" if gates else "",
        by_slice=select(results.rows, "unet", "slice", *HEADLINE, recipe),
        reference={row["measure"]: row["value"] for row in published("slice") if row["who"] == REFERENCE},
        empty=_all_empty(),
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
    return fill(
        "results.md",
        note=note,
        sections=[
            {
                "protocol": protocol,
                "promise": promise,
                "conditions": CONDITIONS.format(neighbours="" if protocol == "slice" else NEIGHBOURS),
                "headline": headline,
                "confusion": [confusion(gate) for gate in results.gates if gate.protocol == protocol],
                "published": published_table(protocol),
                # Of some slices of a patient there is no volume.
                "modes": "" if protocol == "slice" else modes_table(results, protocol),
                "groups": "" if protocol == "slice" else group_table(results, protocol),
                "patients": "" if protocol == "slice" else patient_table(results, protocol),
            }
            for protocol, promise in PROTOCOLS.items()
            if (headline := headline_tables(results, protocol))
        ],
        listed=LISTED,
        empty=_all_empty(),
        speed=table(speed) if speed else "",
        figures={f"{folder}/{name}.png": FIGURES[name] for name in figures},
        ablations=ablation_table(load_runs(weights / ABLATIONS.name)),
    )


def _all_empty() -> float:
    """What an all-empty prediction scores by slice."""
    (value,) = (row["value"] for row in published("slice") if row["who"] == "an all-empty prediction")
    return float(value)


def _metrics(results: Results, config: ModelConfig) -> dict[str, object]:
    protocol = str(config.split.get("protocol", "patient"))
    recipe = str(config.training.get("recipe", ""))
    return summary(results, config.architecture, protocol, recipe) or config.metrics  # type: ignore[arg-type]
