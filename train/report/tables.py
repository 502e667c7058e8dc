"""Templates, and Markdown tables of the results, for README, `docs/results.md` and the models' cards."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from lgg.metrics import bootstrap_interval
from lgg.models import BUILDERS, GATE, TITLES, build, parameters
from lgg.postprocess import Gating
from train.ablation import MODES as ABLATION_MODES
from train.ablation import VARIANTS, Run
from train.evaluation.evaluate import HEADLINE, Protocol, Row
from train.evaluation.patient_metrics import Mode
from train.evaluation.results import GateSlices, PatientRow, Results, markdown_table

#: `train` is run from the repository, never from a package.
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=False,  # Markdown of our own figures, no visitor's words
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
PUBLISHED = Path(__file__).parent / "published.json"
SEGMENTER_COLUMNS = {
    "volume_mean": "volume mean",
    "volume_median": "volume median",
    "slice_tumour": "slice-tumour",
    "slice_all_268_125": "slice-all 268:125",
    "pooled": "pooled",
    "empty_kept": "empty kept empty",
}
GATE_COLUMNS = {"auroc": "AUROC", "accuracy": "accuracy", "recall_tumour": "recall", "ece": "ECE"}
#: Of README's one table.
README_COLUMNS = {
    "volume_mean": "Dice of a volume: mean",
    "volume_median": "median",
    "slice_tumour": "Dice of a slice with tumour",
    "empty_kept": "empty slices kept empty",
}
#: Gates and modes beside each other; first the headline.
OTHER_MODES: dict[tuple[Gating, Mode], str] = {
    HEADLINE: "hard gate, volume statistics",
    ("soft", "volume"): "soft gate",
    ("none", "volume"): "no gate",
    ("hard", "apart"): "slices decided apart",
    ("hard", "slice"): "slice statistics",
    ("hard", "flair"): "FLAIR only",
    ("hard", "tta"): "flip TTA",
}
#: Bounds of tumour volume in pixels over all slices of 256×256: about a third of the patients each.
SIZES = {"small, below 15,000 px": 15_000, "medium, to 45,000 px": 45_000, "large, above": float("inf")}
#: Most patients that a table lists.
LISTED = 20


def fill(template: str, **values: object) -> str:
    """A page from its template."""
    return _TEMPLATES.get_template(template).render(**values) + "\n"


def networks(results: Results, protocol: Protocol) -> list[tuple[str, str]]:
    """(architecture, recipe) of each network that was measured by a protocol, in the registry's order."""
    measured = {(row.model, row.recipe) for row in results.rows if row.protocol == protocol}
    return sorted(measured, key=lambda network: (list(BUILDERS).index(network[0]), network[1]))


def title(model: str, recipe: str, results: Results, protocol: Protocol) -> str:
    """A network for people; with its recipe where its results by one protocol are of several."""
    several = sum(name == model for name, _ in networks(results, protocol)) > 1
    return f"{TITLES[model]}, {recipe} recipe" if several else TITLES[model]


def select(
    rows: Iterable[Row], model: str, protocol: str, gating: str, mode: str, recipe: str
) -> dict[str, Row]:
    """Measure → its row, of those that are defined."""
    wanted = (model, protocol, gating, mode, recipe)
    return {
        row.measure: row
        for row in rows
        if (row.model, row.protocol, row.cascade, row.mode, row.recipe) == wanted and row.value is not None
    }


def interval(row: Row) -> str:
    """`0.812 (0.790–0.840)`."""
    bounds = "" if row.low is None or row.high is None else f" ({row.low:.3f}–{row.high:.3f})"
    return f"{row.value:.3f}{bounds}"


def _millions(model: str) -> str:
    """A network's parameters, `1.80 M`."""
    with torch.device("meta"):  # nothing is initialised just to be counted
        return f"{parameters(build(model)) / 1e6:.2f} M"


def headline_rows(results: Results, protocol: Protocol, columns: Iterable[str]) -> list[list[str]]:
    """Name, parameters and figures of each network that has these measures in the headline mode.

    Args:
        columns: measures, of segmenters or of gates.
    """
    rows = []
    for model, recipe in networks(results, protocol):
        gating = "none" if model == GATE else HEADLINE[0]
        measured = select(results.rows, model, protocol, gating, HEADLINE[1], recipe)
        if set(columns) <= set(measured):
            name = f"{title(model, recipe, results, protocol)} (`{model}`)"
            rows.append([name, _millions(model), *(interval(measured[measure]) for measure in columns)])
    return rows


def headline_tables(results: Results, protocol: Protocol = "patient") -> str:
    """Segmenters in the headline mode, then the gates, by one protocol; empty where nothing was measured."""
    segmenter = SEGMENTER_COLUMNS
    if protocol == "slice":  # of single slices there is no volume
        segmenter = {name: words for name, words in segmenter.items() if not name.startswith("volume")}
    tables = [
        markdown_table(("", "parameters", *columns.values()), headline_rows(results, protocol, columns))
        for columns in (segmenter, GATE_COLUMNS)
    ]
    return "\n\n".join(filter(None, tables))


def published(protocol: Protocol) -> list[dict[str, Any]]:
    """What others report by one protocol: who, measure, value, note."""
    return [row for row in json.loads(PUBLISHED.read_text()) if row["protocol"] == protocol]


def published_table(protocol: Protocol) -> str:
    """What others report by one protocol."""
    rows = [
        (row["who"], SEGMENTER_COLUMNS.get(row["measure"], row["measure"]), f"{row['value']:g}", row["note"])
        for row in published(protocol)
    ]
    return markdown_table(("published", "measure", "value", ""), rows)


def readme_table(results: Results) -> str:
    """The segmenters by patient, those of folds first; then who else reports Dice a volume by patient."""
    others: dict[tuple[str, str], dict[str, str]] = {}
    for row in published("patient"):
        others.setdefault((row["who"], row["note"]), {})[row["measure"]] = f"{row['value']:.3f}"
    rows = [
        [f"*{judged(results, 'fold')} patients in five folds:* {name}", *figures]
        for name, *figures in headline_rows(results, "fold", README_COLUMNS)
    ]
    rows += headline_rows(results, "patient", README_COLUMNS)
    rows += [
        [f"*published:* {who} ({note})", "", *(values.get(measure, "") for measure in README_COLUMNS)]
        for (who, note), values in others.items()
        if "volume_mean" in values
    ]
    return markdown_table(("", "parameters", *README_COLUMNS.values()), rows)


def judged(results: Results, protocol: Protocol) -> int:
    """How many patients were judged by a protocol."""
    return len({row.patient for row in results.patients if row.protocol == protocol})


def modes_table(results: Results, protocol: Protocol) -> str:
    """A row a network: a segmenter's mean Dice of a volume, the gate's AUROC, in every gate and mode.

    The gate judges a slice before any gate and without its neighbours, so some of its cells are empty.
    """
    rows = []
    for model, recipe in networks(results, protocol):
        measure, cells = ("auroc" if model == GATE else "volume_mean"), []
        for gating, mode in OTHER_MODES:
            own: str = gating
            if model == GATE:
                own = "none" if gating == "hard" and mode != "apart" else "not measured"
            row = select(results.rows, model, protocol, own, mode, recipe).get(measure)
            cells.append(f"{row.value:.3f}" if row else "")
        if any(cells):
            rows.append([title(model, recipe, results, protocol), *cells])
    return markdown_table(("", *OTHER_MODES.values()), rows)


def confusion(gate: GateSlices) -> str:
    """The gate's decisions at its threshold, as the reference states its own."""
    says = np.array(gate.probability) >= np.array(gate.threshold)
    tumour = np.array(gate.tumour, bool)
    cells = {"TN": ~says & ~tumour, "FP": says & ~tumour, "FN": ~says & tumour, "TP": says & tumour}
    counts = ", ".join(f"{name} {int(which.sum())}" for name, which in cells.items())
    return f"The gate ({gate.recipe} recipe) at its threshold: {counts}."


def group_table(results: Results, protocol: Protocol) -> str:
    """Mean volume Dice by site, by size of the tumour and by missing sequence."""
    groups: dict[str, Callable[[PatientRow], str]] = {
        "site": lambda patient: patient.site or "unknown",
        "tumour": lambda patient: next(
            size for size, bound in SIZES.items() if patient.tumour_pixels < bound
        ),
        "missing sequence": lambda patient: patient.missing,
    }
    patients = [row for row in results.patients if row.protocol == protocol]
    models = list(dict.fromkeys(row.model for row in patients))
    order = list(SIZES)
    rows = []
    for group, key in groups.items():
        for name in sorted(
            {key(p) for p in patients}, key=lambda n: (order.index(n) if n in order else 0, n)
        ):
            inside = [[p.volume for p in patients if (p.model, key(p)) == (model, name)] for model in models]
            means = [f"{np.mean(values):.3f}" if values else "" for values in inside]
            rows.append([f"{group}: {name}", str(max(map(len, inside))), *means])
    return markdown_table(("", "patients", *(TITLES[model] for model in models)), rows)


def patient_table(results: Results, protocol: Protocol) -> str:
    """Volume Dice of each patient by every segmenter, what the best one gets wrong; the worst on top."""
    patients: dict[str, dict[str, PatientRow]] = {}
    volumes: dict[str, list[float]] = {}
    for row in results.patients:
        if row.protocol == protocol:
            patients.setdefault(row.patient, {})[row.model] = row
            volumes.setdefault(row.model, []).append(row.volume)
    if not patients:
        return ""
    best = max(volumes, key=lambda model: float(np.mean(volumes[model])))
    worst_first = sorted(patients.items(), key=lambda item: min(row.volume for row in item[1].values()))
    rows = []
    for name, by_model in worst_first[:LISTED]:
        row = by_model.get(best) or next(iter(by_model.values()))
        what = [name, f"{row.slices} ({row.tumour_slices})", f"{row.tumour_pixels:,}", row.missing]
        dices = [f"{by_model[model].volume:.3f}" if model in by_model else "" for model in volumes]
        rows.append([*what, *dices, row.missed_slices, row.false_slices])
    titles = [TITLES[model] for model in volumes]
    wrong = [f"{TITLES[best]}: slices with tumour missed", "empty slices outlined"]
    return markdown_table(("patient", "slices (tumour)", "tumour px", "missing", *titles, *wrong), rows)


def ablation_table(runs: Sequence[Run]) -> str:
    """A line a variant; empty where there is none.

    The change is paired: the same patients and seeds, seeds averaged. Its 95 % interval says whether the
    patients, not the seeds, could have made the difference.
    """
    measures = ("volume mean", "change", "slice-tumour", "slice statistics", "FLAIR only", "runs")
    columns = ("", "trained", *measures)
    parts = []
    for recipe in dict.fromkeys(run.recipe for run in runs):
        mine = [run for run in runs if run.recipe == recipe]
        rows = []
        for name, variant in VARIANTS.items():
            if own := [run for run in mine if run.variant == name]:
                seeds = {run.seed for run in own}
                against = [run for run in mine if run.variant == variant.against and run.seed in seeds]
                rows.append(_ablation_row(variant.words, own, against))
        parts.append(f"`{recipe}` recipe:\n\n{markdown_table(columns, rows)}")
    return "\n\n".join(parts)


def _ablation_row(words: str, runs: Sequence[Run], against: Sequence[Run]) -> list[str]:
    means = {mode: float(_volumes(runs, mode).mean()) for mode in ABLATION_MODES}
    change = ""
    if against:
        differences = _volumes(runs, "volume") - _volumes(against, "volume")
        low, high = bootstrap_interval(lambda some: float(np.mean(some)), list(differences))
        change = f"{differences.mean():+.3f} ({low:+.3f} to {high:+.3f})"
    budget = f"{runs[0].epochs} epochs at {runs[0].size} px"
    tumour = float(np.mean([run.slice_tumour["volume"] for run in runs]))
    figures = (tumour, means["slice"], means["flair"])
    cells = (f"{value:.3f}" for value in figures)
    return [words, budget, f"{means['volume']:.3f}", change, *cells, str(len(runs))]


def _volumes(runs: Sequence[Run], mode: Mode) -> NDArray[np.float64]:
    """(patients,) Dice of each volume, the mean over runs."""
    means: NDArray[np.float64] = np.mean([run.volume[mode] for run in runs], axis=0)
    return means
