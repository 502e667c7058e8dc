"""What a cascade is worth on one patient, and what patients' results add up to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lgg import metrics
from lgg.cascade import Cascade
from lgg.postprocess import Gating, decide_all
from lgg.types import RawOutput, Thresholds
from train.data.kaggle_3m import Volume

#: `volume` and `slice` name the statistics; `apart` is `volume` with each slice decided as if it were alone;
#: `flair` gives FLAIR in place of the other sequences; `tta` is the mean with the mirrored slices.
Mode = Literal["volume", "apart", "slice", "flair", "tta"]
#: Share of empty slices in the reference's test set, 268 of 393.
REFERENCE_EMPTY = 268 / 393


@dataclass(frozen=True)
class PatientScores:
    """One patient's N slices under one cascade and mode.

    dice, iou, hd95, gate: (N,) floats, hd95 NaN where a mask is empty. tumour, kept_empty: (N,) bool.
    false_pixels: (N,). volume: Dice of the patient in 3D. tp, fp, fn: pixels. gate_threshold: 0 to 1.
    """

    patient: str
    dice: NDArray[np.float64]
    iou: NDArray[np.float64]
    hd95: NDArray[np.float64]
    gate: NDArray[np.float32]
    tumour: NDArray[np.bool_]
    kept_empty: NDArray[np.bool_]
    false_pixels: NDArray[np.int64]
    volume: float
    volume_iou: float
    tp: int
    fp: int
    fn: int
    gate_threshold: float

    @property
    def tumour_pixels(self) -> int:
        """Size of the tumour over all slices, in pixels."""
        return self.tp + self.fn

    @property
    def slice_tumour(self) -> float:
        """Mean Dice of the slices with tumour; NaN where there are none."""
        return _mean(self.dice[self.tumour])


def predict_volume(cascade: Cascade, volume: Volume, mode: Mode) -> RawOutput:
    """Both networks' answers for a volume, none skipped by the gate.

    All modes but `slice` use the volume's statistics.
    """
    prepared = volume.prepare("slice" if mode == "slice" else "volume", flair_alone=mode == "flair")
    raw = cascade.raw(prepared)
    if mode != "tta":
        return raw
    mirrored = cascade.raw(prepared.mirror())
    probability = np.mean([raw.probability, mirrored.probability[:, :, ::-1]], axis=0)
    return replace(raw, gate=np.mean([raw.gate, mirrored.gate], axis=0), probability=probability)


def score(
    volume: Volume,
    raw: RawOutput,
    thresholds: Thresholds,
    gating: Gating,
    gate_threshold: float,
    series: bool = False,
) -> PatientScores:
    """Decide every slice's mask and compare it with the truth, at the slices' own resolution.

    Args:
        gate_threshold: where the gate alone says "glioma", for its own measures.
        series: leave out what no neighbouring slice confirms.
    """
    masks = decide_all(raw, thresholds, gating, series)
    truth, tumour = volume.masks, volume.tumour
    pairs = list(zip(masks, truth, strict=True))
    return PatientScores(
        patient=volume.patient,
        dice=metrics.slice_dices(masks, truth),
        iou=np.array([metrics.iou(*pair) for pair in pairs]),
        hd95=np.array([metrics.hd95(*pair) for pair in pairs]),
        gate=raw.gate,
        tumour=tumour,
        kept_empty=np.array([not mask.any() for mask in masks]),
        false_pixels=(masks & ~truth).sum((1, 2)),
        volume=metrics.dice(masks, truth),
        volume_iou=metrics.iou(masks, truth),
        tp=int((masks & truth).sum()),
        fp=int((masks & ~truth).sum()),
        fn=int((~masks & truth).sum()),
        gate_threshold=gate_threshold,
    )


Patients = Sequence[PatientScores]
Measure = Callable[[Patients], float]


def joined(patients: Patients, name: str) -> NDArray:
    """A field of all slices of all patients, one after the other."""
    return np.concatenate([getattr(patient, name) for patient in patients])


def _slices_where(name: str, wanted: Literal["tumour", "empty"]) -> Measure:
    def measure(patients: Patients) -> float:
        tumour = joined(patients, "tumour")
        values = joined(patients, name)[tumour if wanted == "tumour" else ~tumour]
        return _mean(values[~np.isnan(values)])

    return measure


def _mean(values: NDArray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _pooled(patients: Patients, dice: bool) -> float:
    tp, fp, fn = (sum(getattr(patient, name) for patient in patients) for name in ("tp", "fp", "fn"))
    overlap, total = (2 * tp, 2 * tp + fp + fn) if dice else (tp, tp + fp + fn)
    return (overlap + metrics.EPSILON) / (total + metrics.EPSILON)


#: Measures of the segmentation; all shares from 0 to 1 but for hd95 (pixels) and false_pixels (pixels).
SEGMENTATION: dict[str, Measure] = {
    "volume_mean": lambda patients: _mean(np.array([patient.volume for patient in patients])),
    "volume_median": lambda patients: float(np.median([patient.volume for patient in patients])),
    "volume_iou_mean": lambda patients: _mean(np.array([patient.volume_iou for patient in patients])),
    "volume_iou_median": lambda patients: float(np.median([patient.volume_iou for patient in patients])),
    "slice_tumour": _slices_where("dice", "tumour"),
    "slice_tumour_iou": _slices_where("iou", "tumour"),
    "slice_all": lambda patients: metrics.slice_all(joined(patients, "dice"), joined(patients, "tumour")),
    "slice_all_268_125": lambda patients: metrics.slice_all(
        joined(patients, "dice"), joined(patients, "tumour"), REFERENCE_EMPTY
    ),
    "slice_all_iou": lambda patients: metrics.slice_all(joined(patients, "iou"), joined(patients, "tumour")),
    "pooled": lambda patients: _pooled(patients, dice=True),
    "iou_pooled": lambda patients: _pooled(patients, dice=False),
    "hd95": _slices_where("hd95", "tumour"),
    "hd95_left_out": lambda patients: float(np.isnan(joined(patients, "hd95")).sum()),
    "empty_kept": _slices_where("kept_empty", "empty"),
    "false_pixels": _slices_where("false_pixels", "empty"),
}


def support(patients: Patients, measure: str) -> int:
    """How many a measure is about: patients, or slices; of those, the ones of its class where it has one."""
    tumour = joined(patients, "tumour")
    if measure.startswith("volume"):
        return len(patients)
    if measure == "hd95":
        return int((~np.isnan(joined(patients, "hd95"))).sum())
    if measure in ("empty_kept", "false_pixels") or measure.endswith("_empty"):
        return int((~tumour).sum())
    return int(tumour.sum()) if "tumour" in measure else len(tumour)


def _gate_ratio(top: Sequence[str], bottom: Sequence[str]) -> Measure:
    """A ratio of sums of the confusion matrix's cells tp, fp, tn, fn."""

    def measure(patients: Patients) -> float:
        says = np.concatenate([patient.gate >= patient.gate_threshold for patient in patients])
        tumour = joined(patients, "tumour")
        cells = {"tp": says & tumour, "fp": says & ~tumour, "tn": ~says & ~tumour, "fn": ~says & tumour}
        total = sum(cells[name].sum() for name in bottom)
        return float(sum(cells[name].sum() for name in top) / total) if total else float("nan")

    return measure


#: Measures of the gate, all 0 to 1; precision, recall and F1 once for each class.
GATE_MEASURES: dict[str, Measure] = {
    "auroc": lambda patients: metrics.auroc(joined(patients, "gate"), joined(patients, "tumour")),
    "accuracy": _gate_ratio(["tp", "tn"], ["tp", "tn", "fp", "fn"]),
    "precision_tumour": _gate_ratio(["tp"], ["tp", "fp"]),
    "recall_tumour": _gate_ratio(["tp"], ["tp", "fn"]),
    "f1_tumour": _gate_ratio(["tp", "tp"], ["tp", "tp", "fp", "fn"]),
    "precision_empty": _gate_ratio(["tn"], ["tn", "fn"]),
    "recall_empty": _gate_ratio(["tn"], ["tn", "fp"]),
    "f1_empty": _gate_ratio(["tn", "tn"], ["tn", "tn", "fp", "fn"]),
    "ece": lambda patients: metrics.calibration_error(
        joined(patients, "gate").astype(np.float64), joined(patients, "tumour")
    ),
}
