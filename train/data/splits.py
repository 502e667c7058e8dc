"""Who trains, who validates, who tests: fixed for `kaggle_3m`, drawn by the same rules for other data.

`splits.json` is never redrawn. Its *patient* split is the honest one; its *slice* split shuffles slices as
the reference did, so neighbouring slices of one patient stand on both sides: labelled leaky wherever shown.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

import numpy as np

from lgg.errors import DataError
from train.recipes import Protocol

Split = Literal["train", "validation", "test"]
#: Shares of train, validation and test.
SHARES = (0.8, 0.1, 0.1)
SEED = 0
FOLDS = 5


@cache
def fixed() -> dict[str, Any]:
    """`splits.json`: `patient` and `slice` (split → names), `folds` (lists) and `regression` (patients)."""
    return json.loads((resources.files("train.data") / "splits.json").read_text())


def select(
    ids: Sequence[str], protocol: Protocol, volumes: dict[str, int] | None = None
) -> dict[Split, list[str]]:
    """Share out patients (or slices) to the three splits.

    Args:
        ids: patient names for `patient`, `<patient>_<number>` for `slice`.
        protocol: which split.
        volumes: tumour pixels of each patient, to stratify data that is not `kaggle_3m`.

    Returns:
        Split → those of `ids` in it. Where all of them stand in `splits.json`, that decides.

    Raises:
        DataError: some ids stand in `splits.json` and some do not: two data sets were mixed.
    """
    splits: dict[Split, list[str]] = {split: fixed()[protocol][split] for split in get_args(Split)}
    known = {name for names in splits.values() for name in names}
    strangers = sorted(set(ids) - known)
    if not strangers:
        present = set(ids)
        return {split: [name for name in names if name in present] for split, names in splits.items()}
    if len(strangers) < len(ids):
        raise DataError(
            f"{strangers[0]} and {len(strangers) - 1} more are not in the fixed split of kaggle_3m, others "
            "are. Keep your own data and kaggle_3m in separate folders."
        )
    if protocol == "slice":
        return _cut(list(np.random.default_rng(SEED).permutation(sorted(ids))))
    return _stratified(ids, volumes or {})


def _stratified(patients: Sequence[str], volumes: dict[str, int]) -> dict[Split, list[str]]:
    """By site and tumour volume: ranked by both, each run of ten gives one to validation and one to test."""
    rng = np.random.default_rng(SEED)
    ranked = sorted(patients, key=lambda name: (site(name), volumes.get(name, 0), name))
    splits: dict[Split, list[str]] = {split: [] for split in get_args(Split)}
    if len(ranked) < 10:
        return _cut(list(rng.permutation(ranked)))
    for start in range(0, len(ranked), 10):
        run = list(rng.permutation(ranked[start : start + 10]))
        splits["test"] += run[:1]
        splits["validation"] += run[1:2]
        splits["train"] += run[2:]
    return {split: sorted(names) for split, names in splits.items()}


def draw_folds(patients: Sequence[str], volumes: dict[str, int] | None = None) -> list[list[str]]:
    """Five folds of patients: the fixed ones for `kaggle_3m`, else by site and tumour volume.

    Args:
        volumes: tumour pixels of each patient that is not of `kaggle_3m`.

    Raises:
        DataError: fewer than five patients.
    """
    present = set(patients)
    known = [[name for name in fold if name in present] for fold in fixed()["folds"]]
    if present <= {name for fold in known for name in fold} and all(known):
        return known
    if len(present) < FOLDS:
        raise DataError(f"{FOLDS} folds need at least {FOLDS} patients; there are {len(present)}.")
    ranked = sorted(present, key=lambda name: (site(name), (volumes or {}).get(name, 0), name))
    folds: list[list[str]] = [[] for _ in range(FOLDS)]
    rng = np.random.default_rng(SEED)
    for start in range(0, len(ranked), FOLDS):
        # Of each five that are alike, one goes to each fold.
        for fold, name in zip(rng.permutation(FOLDS), ranked[start : start + FOLDS], strict=False):
            folds[fold].append(name)
    return [sorted(fold) for fold in folds]


def _cut(shuffled: list[str]) -> dict[Split, list[str]]:
    """80/10/10 in the order given; with three or more no split stays empty."""
    each = max(1, round(len(shuffled) * SHARES[1]))
    test, validation, train = shuffled[:each], shuffled[each : 2 * each], shuffled[2 * each :]
    return {"train": sorted(train), "validation": sorted(validation), "test": sorted(test)}


def site(patient: str) -> str:
    """The hospital in a TCGA name (`TCGA_<site>_...`), else an empty string."""
    parts = patient.split("_")
    return parts[1] if len(parts) > 2 and parts[0] == "TCGA" else ""
