"""Who was trained and tested on, by the hospital they came from: where a model's bias would show."""

from collections.abc import Iterable
from statistics import mean
from typing import Any

from lgg.models import GATE
from lgg.weights import ModelConfig
from train.splits import site

#: Code in a patient's name (TCGA_<site>_<id>_<date>) → hospital, as Buda et al. (2019) list them.
SITES = {
    "CS": "Thomas Jefferson University",
    "DU": "Henry Ford Hospital",
    "EZ": "University of North Carolina",
    "FG": "Case Western",
    "HT": "Case Western, St. Joseph's",
}


def site_of(patient: str) -> str:
    """The site's code, or "other" for a name of another shape."""
    return site(patient) or "other"


def by_site(patients: Iterable[str]) -> dict[str, list[str]]:
    """Site → its patients, sites in alphabetical order."""
    groups: dict[str, list[str]] = {}
    for patient in sorted(patients, key=lambda one: (site_of(one), one)):
        groups.setdefault(site_of(patient), []).append(patient)
    return groups


def sites_table(config: ModelConfig) -> str:
    """Patients a site, and what a segmenter reaches on them (the gate's figures know no site)."""
    training = config.split.get("train")
    trained = by_site(training) if isinstance(training, list) else {}
    scores: dict[str, Any] = config.metrics.get("patients", {})
    tested = by_site(scores)
    if not trained and not tested:
        return "Not known: the split names no patients."
    segmenter = config.architecture != GATE
    lines = [
        "| site | patients trained on | tested on |"
        + (" Dice a volume, mean | lowest |" if segmenter else ""),
        "|---|---|---|" + ("---|---|" if segmenter else ""),
    ]
    for code in sorted({*trained, *tested}):
        row = f"| {SITES.get(code, code)} | {len(trained.get(code, []))} | {len(tested.get(code, []))} |"
        if segmenter:
            values = [float(scores[one]) for one in tested.get(code, [])]
            row += f" {mean(values):.3f} | {min(values):.3f} |" if values else " not tested | |"
        lines.append(row)
    few = (
        "All sites are hospitals in the United States, and a site with few patients says little about itself."
    )
    return "\n".join([*lines, "", few])
