"""Evaluation: every measure, cascade and mode as rows of data, with intervals over patients."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch
from tqdm import tqdm

from lgg.cascade import Cascade
from lgg.errors import DataError
from lgg.gating import Gating
from lgg.metrics import bootstrap_interval
from lgg.models import GATE
from lgg.weights import ModelConfig
from train.index import SliceFiles, Volume, load_volume
from train.score import GATE_MEASURES, SEGMENTATION, Measure, Mode, PatientScores, examine, joined, score
from train.splits import fixed

Protocol = Literal["patient", "slice", "fold", "external"]
#: The figures that everything quotes: hard gate, volume statistics, no TTA.
HEADLINE: tuple[Gating, Mode] = ("hard", "volume")


@dataclass(frozen=True)
class Row:
    """One number. Shares are 0 to 1; `low` and `high` bound the 95 % interval over patients."""

    model: str
    protocol: Protocol
    cascade: Gating
    mode: Mode
    measure: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    recipe: str


def choose_patients(patients: dict[str, list[SliceFiles]], wanted: str) -> dict[str, list[SliceFiles]]:
    """The patients that `--patients` names: `all`, a side, `regression`, `fold0` to `fold4`, or names.

    Raises:
        DataError: it names nobody, or somebody who is not in the data.
    """
    known = fixed()
    lists = {"all": sorted(patients), "regression": known["regression"], **known["patient"]}
    lists |= {f"fold{number}": names for number, names in enumerate(known["folds"])}
    names = lists.get(wanted)
    if names is None:
        names = [one.strip() for one in wanted.split(",") if one.strip()]
        missing = [one for one in names if one not in patients]
        if missing or not names:
            raise DataError(
                f"--patients {wanted}: not in the data: {', '.join(missing) or 'nobody named'}. "
                f"Give names separated by commas, or one of {', '.join(lists)}."
            )
    chosen = {name: patients[name] for name in names if name in patients}
    if not chosen:
        raise DataError(f"None of the patients of '{wanted}' is in the data. Use --patients all.")
    return chosen


def protocol_of(config: ModelConfig, patients: Sequence[str]) -> Protocol:
    """Which promise the figures keep: they are `external` for patients that are not of `kaggle_3m`."""
    known = {name for names in fixed()["patient"].values() for name in names}
    if not known & set(patients):
        return "external"
    return "slice" if config.split.get("protocol") == "slice" else "patient"


def evaluate(
    cascade: Cascade, patients: dict[str, list[SliceFiles]], modes: Sequence[Mode] = get_args(Mode)
) -> tuple[list[Row], list[PatientScores]]:
    """Evaluate gate and segmenter on whole patients.

    Returns:
        The rows of the segmenter and of the gate, and each patient's headline scores.
    """
    pairs: list[tuple[Gating, Mode]] = [(gating, mode) for mode in modes for gating in get_args(Gating)]
    scores: dict[tuple[Gating, Mode], list[PatientScores]] = {pair: [] for pair in pairs}
    for slices in tqdm(patients.values(), cascade.config.architecture, unit="patient"):
        volume = load_volume(slices)
        for mode in modes:
            maps = examine(cascade, volume, mode)
            for gating in get_args(Gating):
                scores[gating, mode].append(score(volume, maps, cascade.thresholds, gating))
    rows: list[Row] = []
    for (gating, mode), found in scores.items():
        rows += _rows(cascade.config, gating, mode, found, SEGMENTATION)
        if gating == "none":
            rows += _rows(cascade.gate_config, gating, mode, found, GATE_MEASURES)
    device = torch.device(cascade.device).type
    rows += _rows(
        cascade.config, *HEADLINE, scores.get(HEADLINE, []), {f"ms_per_slice_{device}": _milliseconds}
    )
    return rows, scores.get(HEADLINE, [])


def _milliseconds(patients: Sequence[PatientScores]) -> float:
    return sum(one.milliseconds * len(one.dice) for one in patients) / sum(len(one.dice) for one in patients)


def _rows(
    config: ModelConfig,
    gating: Gating,
    mode: Mode,
    patients: Sequence[PatientScores],
    measures: dict[str, Measure],
) -> list[Row]:
    if not patients:
        return []
    protocol = protocol_of(config, [one.patient for one in patients])
    recipe = str(config.training.get("recipe", ""))
    rows = []
    for name, measure in measures.items():
        low, high = bootstrap_interval(measure, patients)
        # Patient measures count patients, all others slices.
        count = len(patients) if name.startswith("volume") else len(joined(patients, "dice"))
        value = _number(measure(patients))
        rows.append(
            Row(
                config.architecture,
                protocol,
                gating,
                mode,
                name,
                value,
                _number(low),
                _number(high),
                count,
                recipe,
            )
        )
    return rows


def _number(value: float) -> float | None:
    """Six digits; None where it is not defined, as JSON knows no NaN."""
    return None if math.isnan(value) else round(value, 6)


def headline(rows: Sequence[Row]) -> list[Row]:
    """The rows that everything quotes, without those that are not defined; the gate has no cascade."""
    gating, mode = HEADLINE
    return [
        row
        for row in rows
        if row.mode == mode and (row.cascade == gating or row.model == GATE) and row.value is not None
    ]


def summary(rows: Sequence[Row], patients: Sequence[PatientScores]) -> dict[str, object]:
    """What `config.json` keeps of an evaluation: headline figures with intervals, and Dice a patient."""
    return {
        "protocol": rows[0].protocol,
        "cascade": rows[0].cascade if rows[0].model == GATE else HEADLINE[0],
        "mode": HEADLINE[1],
        "measures": {
            row.measure: {"value": row.value, "low": row.low, "high": row.high, "n": row.n}
            for row in headline(rows)
        },
        "patients": {one.patient: round(one.volume, 6) for one in patients},
    }


def as_records(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Rows as plain dictionaries, for JSON."""
    return [asdict(row) for row in rows]


def headline_volumes(cascade: Cascade, volumes: Sequence[Volume]) -> dict[str, float]:
    """Volume Dice of each patient in the headline mode."""
    gating, mode = HEADLINE
    return {
        one.patient: score(one, examine(cascade, one, mode), cascade.thresholds, gating).volume
        for one in volumes
    }
