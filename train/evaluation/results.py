"""What was measured, as data: JSON files with a line a result, so that a change shows as what it is."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgg.errors import DataError
from lgg.files import write_text
from lgg.models import BUILDERS, GATE
from lgg.weights import REPOSITORY_WEIGHTS, ModelConfig
from train.data.splits import site
from train.evaluation.evaluate import HEADLINE, UNGATED, PatientResult, Protocol, Row, headline, rows_of

RESULTS = REPOSITORY_WEIGHTS / "results.json"


@dataclass(frozen=True)
class PatientRow:
    """One patient in the headline mode: Dice of the volume and of its slices, and what may explain them."""

    model: str
    protocol: Protocol
    recipe: str
    patient: str
    site: str
    missing: str
    slices: int
    tumour_slices: int
    tumour_pixels: int
    volume: float
    slice_tumour: float | None
    missed_slices: int
    false_slices: int
    ungated: float | None = None


@dataclass(frozen=True)
class GateSlices:
    """The gate's probability of each slice, its threshold, and which slices hold tumour (0 or 1)."""

    model: str
    protocol: Protocol
    recipe: str
    threshold: list[float]
    probability: list[float]
    tumour: list[int]


@dataclass(frozen=True)
class PixelCounts:
    """How many pixels without and with tumour have each probability, in equal bins; no gate."""

    model: str
    protocol: Protocol
    recipe: str
    threshold: float
    other: list[int]
    tumour: list[int]

    def above(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(BINS,) int64 each: how many with and without tumour lie above each threshold, i / BINS."""
        return np.cumsum(self.tumour[::-1])[::-1], np.cumsum(self.other[::-1])[::-1]

    def dice(self) -> NDArray[np.float64]:
        """(BINS,) Dice over all pixels at each threshold, i / BINS."""
        true, false = self.above()
        values: NDArray[np.float64] = 2 * true / np.maximum(true + false + true[0], 1)
        return values


@dataclass(frozen=True)
class Results:
    """All that was measured."""

    rows: list[Row] = field(default_factory=list)
    patients: list[PatientRow] = field(default_factory=list)
    gates: list[GateSlices] = field(default_factory=list)
    pixels: list[PixelCounts] = field(default_factory=list)

    def merged(self, new: "Results") -> "Results":
        """These with the new ones in place of those of the same network, protocol and recipe."""
        return Results(
            **{kind.name: _merge(getattr(self, kind.name), getattr(new, kind.name)) for kind in fields(self)}
        )


def _merge(old: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    replaced = {(row.model, row.protocol, row.recipe) for row in new}
    kept = [row for row in old if (row.model, row.protocol, row.recipe) not in replaced]
    order = list(BUILDERS)
    return sorted([*kept, *new], key=lambda row: (row.protocol, order.index(row.model), row.recipe))


def collect(
    configs: tuple[ModelConfig, ModelConfig], results: Sequence[PatientResult], protocol: Protocol
) -> Results:
    """What is kept of an evaluation.

    Args:
        configs: of the gate and of the segmenter.
        results: the patients', volume statistics among them.
    """
    gate, config = configs
    rows = rows_of(configs, results, protocol)
    scores = [result.scores[HEADLINE] for result in results]
    made: dict[str, Any] = {"protocol": protocol, "recipe": str(config.training.get("recipe", ""))}
    patients = [
        PatientRow(
            model=config.architecture,
            **made,
            patient=patient.patient,
            site=site(patient.patient),
            missing=result.missing,
            slices=len(patient.dice),
            tumour_slices=int(patient.tumour.sum()),
            tumour_pixels=patient.tumour_pixels,
            volume=round(patient.volume, 6),
            slice_tumour=round(patient.slice_tumour, 6) if patient.tumour.any() else None,
            missed_slices=int((patient.tumour & patient.kept_empty).sum()),
            false_slices=int((~patient.tumour & ~patient.kept_empty).sum()),
            ungated=round(result.scores[UNGATED].volume, 6) if UNGATED in result.scores else None,
        )
        for patient, result in zip(scores, results, strict=True)
    ]
    gates = GateSlices(
        model=gate.architecture,
        protocol=protocol,
        recipe=str(gate.training.get("recipe", "")),
        threshold=[patient.gate_threshold for patient in scores for _ in patient.gate],
        probability=[round(float(says), 4) for patient in scores for says in patient.gate],
        tumour=[int(tumour) for patient in scores for tumour in patient.tumour],
    )
    counts = np.sum([result.pixels for result in results], 0)
    pixels = PixelCounts(
        config.architecture,
        **made,
        threshold=config.thresholds.mask,
        other=counts[0].tolist(),
        tumour=counts[1].tolist(),
    )
    return Results(rows, patients, [gates], [pixels])


def summary(results: Results, model: str, protocol: Protocol, recipe: str) -> dict[str, Any]:
    """What `config.json` keeps of its model's results: headline figures and Dice a patient."""
    own = (model, protocol, recipe)
    shown = [row for row in headline(results.rows) if (row.model, row.protocol, row.recipe) == own]
    if not shown:
        return {}
    # The gate saw the patients of every segmenter behind it, but outlined none: it has no Dice.
    gate = model == GATE
    patients = {
        row.patient: None if gate else row.volume
        for row in results.patients
        if row.protocol == protocol and (gate or (row.model, row.recipe) == (model, recipe))
    }
    measures = {
        row.measure: {"value": row.value, "low": row.low, "high": row.high, "n": row.n} for row in shown
    }
    return {
        "protocol": protocol,
        "cascade": shown[0].cascade,
        "mode": shown[0].mode,
        "measures": measures,
        "patients": patients,
    }


def load_results(path: Path = RESULTS) -> Results:
    """What was measured so far; nothing where there is no file.

    Raises:
        DataError: it is not a results file of this version.
    """
    if not path.exists():
        return Results()
    kinds: dict[str, Any] = {"rows": Row, "patients": PatientRow, "gates": GateSlices, "pixels": PixelCounts}
    try:
        stored = json.loads(path.read_text())
        return Results(**{name: [kind(**line) for line in stored[name]] for name, kind in kinds.items()})
    except (ValueError, TypeError, KeyError):
        raise DataError(f"{path.name} is not a results file of this version. Evaluate again.") from None


def save_results(results: Results, path: Path = RESULTS) -> None:
    """Write them, a line each, so that a change shows as what it is."""
    parts = []
    for kind in fields(results):
        lines = ",\n  ".join(json.dumps(asdict(row)) for row in getattr(results, kind.name))
        parts.append(f' "{kind.name}": [\n  {lines}\n ]' if lines else f' "{kind.name}": []')
    write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")


def record_results(results: Results, path: Path) -> None:
    """Put results into a file, in place of those of the same networks, protocols and recipes."""
    save_results(load_results(path).merged(results), path)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under their columns' titles as a Markdown table; empty where there is no row."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    head = "| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|"
    return "\n".join([head, *lines]) if lines else ""
