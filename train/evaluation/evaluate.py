"""Evaluation: every measure, cascade and mode as rows of data, with intervals over patients."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from accelerate.utils import gather_object
from numpy.typing import NDArray
from tqdm import tqdm

from lgg.cascade import Cascade
from lgg.errors import DataError
from lgg.metrics import bootstrap_interval
from lgg.models import GATE
from lgg.postprocess import Gating
from lgg.types import FLAIR, POST, PRE, RawOutput
from lgg.weights import ModelConfig
from train.data.kaggle_3m import SliceFiles, Volume, chosen_rows, load_volume
from train.data.splits import Split, fixed
from train.evaluation.patient_metrics import (
    GATE_MEASURES,
    SEGMENTATION,
    Measure,
    Mode,
    PatientScores,
    predict_volume,
    score,
    support,
)
from train.hardware import make_accelerator

Protocol = Literal["patient", "slice", "fold", "external"]
#: The figures that everything quotes: hard gate, volume statistics, no TTA.
HEADLINE: tuple[Gating, Mode] = ("hard", "volume")
#: The segmenter alone.
UNGATED: tuple[Gating, Mode] = ("none", "volume")
#: Bins of the pixels' probabilities, for precision and recall over the threshold.
BINS = 100


@dataclass(frozen=True)
class Row:
    """One number. Shares are 0 to 1; `low` and `high` bound the 95 % interval over patients.

    n: patients or slices that it is about, see `train.evaluation.patient_metrics.support`.
    """

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


@dataclass(frozen=True)
class PatientResult:
    """One patient in every cascade and mode.

    Attributes:
        scores: (cascade, mode) → scores.
        missing: sequences that FLAIR stands in for: `none`, `pre`, `post` or `pre and post`.
        pixels: (2, BINS) int64, how many pixels without and with tumour have each probability; volume
            statistics, no gate.
    """

    scores: dict[tuple[Gating, Mode], PatientScores]
    missing: str
    pixels: NDArray[np.int64]


def choose_patients(
    patients: dict[str, list[SliceFiles]], wanted: str, splits: Mapping[Split, list[str]]
) -> dict[str, list[SliceFiles]]:
    """The patients that `--patients` names: `all`, a split, `regression`, `fold0` to `fold4`, or names.

    Args:
        patients: the data set's index.
        wanted: as above.
        splits: who is in which.

    Raises:
        DataError: it names nobody, or somebody who is not in the data.
    """
    known = fixed()
    lists = {"all": sorted(patients), "regression": known["regression"]}
    lists |= {str(split): names for split, names in splits.items()}
    lists |= {f"fold{number}": names for number, names in enumerate(known["folds"])}
    names = lists.get(wanted)
    if names is None:
        names = [name.strip() for name in wanted.split(",") if name.strip()]
        missing = [name for name in names if name not in patients]
        if missing or not names:
            raise DataError(
                f"--patients {wanted}: not in the data: {', '.join(missing) or 'nobody named'}. "
                f"Give names separated by commas, or one of {', '.join(lists)}."
            )
    chosen = {name: patients[name] for name in names if name in patients}
    if not chosen:
        raise DataError(f"None of the patients of '{wanted}' is in the data. Use --patients all.")
    return chosen


def protocol_of(config: ModelConfig, patients: Iterable[str]) -> Protocol:
    """Which promise the figures keep: they are `external` for patients of other data than the weights'."""
    named = [names for names in config.split.values() if isinstance(names, list)]
    # The slice split states only how many slices it has: there is one for `kaggle_3m` alone.
    named = named or list(fixed()["patient"].values())
    if not {name for names in named for name in names} & set(patients):
        return "external"
    return "slice" if config.split.get("protocol") == "slice" else "patient"


def seen(configs: Iterable[ModelConfig], patients: Iterable[str]) -> list[str]:
    """Those of the patients on whom one of the networks was trained or chosen.

    Of networks trained by the slice split nobody is named: there everybody is, and the protocol says so.
    """
    known: set[str] = set()
    for config in configs:
        splits = (config.split.get(split) for split in ("train", "validation"))
        known.update(name for names in splits if isinstance(names, list) for name in names)
    return sorted(known & set(patients))


def evaluate_patients(
    cascade: Cascade,
    patients: dict[str, list[SliceFiles]],
    modes: Sequence[Mode] = get_args(Mode),
    keys: Sequence[str] | None = None,
) -> list[PatientResult]:
    """Run the cascade over whole patients, shared out to the processes there are; all get all results.

    Args:
        keys: slices to score, as `<patient>_<number>`; all by default. Statistics are the whole volume's.
    """
    state = make_accelerator()
    mine = list(patients.values())[state.process_index :: state.num_processes]
    ids = None if keys is None else set(keys)
    bar = tqdm(mine, cascade.config.architecture, unit="patient", disable=not state.is_main_process)
    results = [_evaluate_patient(cascade, slices, modes, ids) for slices in bar]
    gathered = gather_object(results) if state.num_processes > 1 else results
    place = {name: number for number, name in enumerate(patients)}
    return sorted(gathered, key=lambda result: place[result.scores["none", modes[0]].patient])


def _evaluate_patient(
    cascade: Cascade, slices: list[SliceFiles], modes: Sequence[Mode], ids: Set[str] | None
) -> PatientResult:
    """One patient in every gating and mode, or those of its slices that `ids` names."""
    scores: dict[tuple[Gating, Mode], PatientScores] = {}
    pixels = np.zeros((2, BINS), np.int64)
    gate_threshold = cascade.gate_config.thresholds.gate
    volume = load_volume(slices).select(chosen_rows(slices, ids))
    raw: dict[Mode, RawOutput] = {}
    for mode in modes:
        # Slices that were picked one by one are no series.
        series = mode not in ("slice", "apart") and ids is None
        if mode == "apart" and ids is not None:
            continue
        run: Mode = "volume" if mode == "apart" else mode
        if run not in raw:
            raw = {run: predict_volume(cascade, volume, run)}
        thresholds = cascade.series_thresholds if series else cascade.thresholds
        for gating in get_args(Gating):
            scores[gating, mode] = score(volume, raw[run], thresholds, gating, gate_threshold, series)
        if mode == "volume":
            pixels = _histograms(raw[run].probability, volume.masks)
    return PatientResult(scores, missing_sequences(volume), pixels)


def _histograms(probability: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(2, BINS): how many pixels without and with tumour have each probability."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    return np.stack([np.bincount(bins[masks == side], minlength=BINS) for side in (False, True)])


def missing_sequences(volume: Volume) -> str:
    """Which sequences are nothing but FLAIR in every slice, as the data set fills what is missing."""
    flair = volume.whole[..., FLAIR]
    names = {PRE: "pre", POST: "post"}
    missing = [name for channel, name in names.items() if np.array_equal(volume.whole[..., channel], flair)]
    return " and ".join(missing) or "none"


def rows_of(
    configs: tuple[ModelConfig, ModelConfig], results: Sequence[PatientResult], protocol: Protocol
) -> list[Row]:
    """Every measure in every cascade and mode; `configs`: of the gate and of the segmenter."""
    gate_config, config = configs
    rows: list[Row] = []
    # Of single slices there is no volume.
    measures = {
        name: measure
        for name, measure in SEGMENTATION.items()
        if protocol != "slice" or not name.startswith("volume")
    }
    for gating, mode in results[0].scores:
        patients = [result.scores[gating, mode] for result in results]
        rows += _rows(config, protocol, gating, mode, patients, measures)
        if gating == "none":
            rows += _rows(gate_config, protocol, gating, mode, patients, GATE_MEASURES)
    return rows


def _rows(
    config: ModelConfig,
    protocol: Protocol,
    gating: Gating,
    mode: Mode,
    patients: Sequence[PatientScores],
    measures: dict[str, Measure],
) -> list[Row]:
    recipe = str(config.training.get("recipe", ""))
    rows = []
    for name, measure in measures.items():
        numbers = (measure(patients), *bootstrap_interval(measure, patients))
        value, low, high = (_number(number) for number in numbers)
        n = support(patients, name)
        rows.append(Row(config.architecture, protocol, gating, mode, name, value, low, high, n, recipe))
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
