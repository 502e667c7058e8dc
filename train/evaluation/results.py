"""JSON files that hold a list of results, a line each: a change of one of them changes one line."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lgg.errors import DataError
from lgg.files import write_text
from lgg.models import BUILDERS, GATE
from lgg.weights import REPOSITORY_WEIGHTS, ModelConfig
from train.data.splits import site
from train.evaluation.evaluate import HEADLINE, UNGATED, PatientResult, Protocol, Row

Record = TypeVar("Record")


def load_records(path: Path, kind: type[Record], what: str) -> list[Record]:
    """The records in a file; none where there is no file.

    Args:
        kind: their dataclass.
        what: what they are called, in the plural.

    Raises:
        DataError: the file is not one of ours.
    """
    if not path.exists():
        return []
    try:
        return [kind(**one) for one in json.loads(path.read_text())]
    except (ValueError, TypeError):
        raise DataError(f"{path.name} is not a file of {what} of this version. Remove it.") from None


def save_records(path: Path, records: Sequence[Any]) -> None:
    """Write dataclasses, a line each."""
    lines = ",\n ".join(json.dumps(asdict(one)) for one in records)
    write_text(path, f"[\n {lines}\n]\n")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under their columns' titles as a Markdown table; empty where there is no row."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    head = "| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|"
    return "\n".join([head, *lines]) if lines else ""


RESULTS = REPOSITORY_WEIGHTS / "results.json"
#: Measured anew each time, so it stands in `benchmark.json`, not here.
TIMING = "ms_per_slice"


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
            **{one.name: _merge(getattr(self, one.name), getattr(new, one.name)) for one in fields(self)}
        )


def _merge(old: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    replaced = {(one.model, one.protocol, one.recipe) for one in new}
    kept = [one for one in old if (one.model, one.protocol, one.recipe) not in replaced]
    order = list(BUILDERS)
    return sorted([*kept, *new], key=lambda one: (one.protocol, order.index(one.model), one.recipe))


def collect(
    configs: tuple[ModelConfig, ModelConfig],
    rows: Iterable[Row],
    found: Sequence[PatientResult],
    protocol: Protocol,
) -> Results:
    """What is kept of an evaluation.

    Args:
        configs: of the gate and of the segmenter.
        rows: as `train.evaluation.evaluate.evaluate` returns them; times are left out.
        found: the patients' results, volume statistics among them.
    """
    gate, config = configs
    found = [one for one in found if len(one.scores[HEADLINE].dice)]
    scores = [one.scores[HEADLINE] for one in found]
    own: dict[str, Any] = {"protocol": protocol, "recipe": str(config.training.get("recipe", ""))}
    its: dict[str, Any] = {"protocol": protocol, "recipe": str(gate.training.get("recipe", ""))}
    patients = [
        PatientRow(
            model=config.architecture,
            **own,
            patient=one.patient,
            site=site(one.patient),
            missing=result.missing,
            slices=len(one.dice),
            tumour_slices=int(one.tumour.sum()),
            tumour_pixels=one.tumour_pixels,
            volume=round(one.volume, 6),
            slice_tumour=round(one.slice_tumour, 6) if one.tumour.any() else None,
            missed_slices=int((one.tumour & one.kept_empty).sum()),
            false_slices=int((~one.tumour & ~one.kept_empty).sum()),
            ungated=round(result.scores[UNGATED].volume, 6) if UNGATED in result.scores else None,
        )
        for one, result in zip(scores, found, strict=True)
    ]
    gates = GateSlices(
        model=gate.architecture,
        **its,
        threshold=[one.gate_threshold for one in scores for _ in one.gate],
        probability=[round(float(one), 4) for patient in scores for one in patient.gate],
        tumour=[int(one) for patient in scores for one in patient.tumour],
    )
    counts = np.sum([one.pixels for one in found], 0)
    pixels = PixelCounts(
        config.architecture,
        **own,
        threshold=config.thresholds.mask,
        other=counts[0].tolist(),
        tumour=counts[1].tolist(),
    )
    kept = [one for one in rows if not one.measure.startswith(TIMING)]
    return Results(kept, patients, [gates], [pixels])


def summary(results: Results, model: str, protocol: Protocol, recipe: str) -> dict[str, Any]:
    """What `config.json` keeps of its model's results: headline figures and Dice a patient."""
    gating, mode = HEADLINE
    own = [one for one in results.rows if (one.model, one.protocol, one.recipe) == (model, protocol, recipe)]
    # The gate's own figures have no cascade.
    shown = [one for one in own if one.mode == mode and one.cascade == ("none" if model == GATE else gating)]
    if not shown:
        return {}
    # The gate saw the patients of every segmenter behind it, but outlined none: it has no Dice.
    gate = model == GATE
    patients = {
        one.patient: None if gate else one.volume
        for one in results.patients
        if one.protocol == protocol and (gate or (one.model, one.recipe) == (model, recipe))
    }
    measures = {
        one.measure: {"value": one.value, "low": one.low, "high": one.high, "n": one.n}
        for one in shown
        if one.value is not None
    }
    return {
        "protocol": protocol,
        "cascade": shown[0].cascade,
        "mode": mode,
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
        return Results(**{name: [kind(**one) for one in stored[name]] for name, kind in kinds.items()})
    except (ValueError, TypeError, KeyError):
        raise DataError(f"{path.name} is not a results file of this version. Evaluate again.") from None


def save_results(results: Results, path: Path = RESULTS) -> None:
    """Write them, a line each, so that a change shows as what it is."""
    parts = []
    for one in fields(results):
        lines = ",\n  ".join(json.dumps(asdict(row)) for row in getattr(results, one.name))
        parts.append(f' "{one.name}": [\n  {lines}\n ]' if lines else f' "{one.name}": []')
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    write_text(path, text)
