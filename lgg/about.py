"""The page's *About*: what runs, how good it is and by which protocol, what it must not be used for."""

from collections.abc import Mapping
from typing import Any

from lgg.cascade import Cascade
from lgg.models import GATE, SEGMENTERS, TITLES
from lgg.scorecard import architectures_html
from lgg.table import table_html

#: Measure → its name for people, in the order of the table.
MEASURES = {
    "volume_mean": "Dice of a patient's volume, mean",
    "volume_median": "the same, median",
    "slice_tumour": "Dice of a slice with tumour",
    "pooled": "Dice over all pixels",
    "empty_kept": "slices without tumour kept empty",
}
GATE_MEASURES = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "recall_tumour": "slices with tumour that pass",
    "ece": "calibration error",
}

WHAT = """<h2>What this is</h2>
<p>Two networks look at an axial slice of a brain MRI. The <em>gate</em>, a ResNet18, says how likely the
slice holds a lower-grade glioma. If it passes, a <em>segmenter</em>, one of several U-Nets, outlines it. The
segmenters were trained on pre-contrast T1, FLAIR and post-contrast T1 of one data set, kaggle_3m, from
patients of The Cancer Genome Atlas.</p>"""
PROTOCOLS = """<h2>How it was measured</h2>
<p>By <strong>patient</strong>: no slice of a test patient was ever trained or chosen on, so the figures say
what to expect of a new patient of the same kind. By <strong>slice</strong>, as most published figures for
this data are: neighbouring slices of a patient stand on both sides, so such figures flatter, and we call them
leaky. All figures here are by patient. A wide interval means few test patients, not a careful
measurement.</p>"""
LIMITS = """<h2>What it cannot do</h2>
<ul><li>It is not a medical device. Do not use it for diagnosis, treatment or triage.</li>
<li>It has seen one kind of tumour, before surgery, in adults, from five hospitals, in axial slices. Anything
else (glioblastoma, metastases, children, CT, other planes) is guesswork, even where no warning appears.</li>
<li>Tumours that barely show on FLAIR may be missed; other bright lesions may be outlined.</li>
<li>The masks that it learnt from were drawn by one person on FLAIR; experts differ by several points of
Dice.</li></ul>"""
LICENCES = """<h2>Licences and citation</h2>
<p>Code: MIT. Weights: CC BY-NC-SA 4.0, as the data they were trained on, as far as its licence is known. The
examples are synthetic, drawn from the ICBM 152 template (copyright notice in lgg/examples).</p>
<p>Please cite Buda, Saha, Mazurowski, <cite>Computers in Biology and Medicine</cite> 109 (2019), and
Mazurowski et al., <cite>Journal of Neuro-Oncology</cite> (2017).</p>"""
PRIVACY = """<h2>Your files</h2>
<p>Uploads and results are deleted within the hour, are seen by nobody else and appear in no link. No patient
field of a DICOM file is shown, kept or logged. Still, send nothing that identifies a patient.</p>"""


def about_html(cascades: Mapping[str, Cascade], reasons: Mapping[str, str]) -> str:
    """The whole tab."""
    return (
        f'<article class="about">{WHAT}<h2>The networks</h2>{architectures_html(cascades, reasons)}'
        f"{PROTOCOLS}{results_html(cascades)}{LIMITS}{PRIVACY}{LICENCES}</article>"
    )


def results_html(cascades: Mapping[str, Cascade]) -> str:
    """The headline figures in the weights' configs, with their intervals."""
    tables = []
    gate = next((one.gate_config for one in cascades.values()), None)
    if gate is not None and gate.metrics:
        tables.append(_results("The gate", [(TITLES[GATE], gate.metrics)], GATE_MEASURES))
    measured = [
        (TITLES[name], cascades[name].config.metrics)
        for name in SEGMENTERS
        if name in cascades and cascades[name].config.metrics
    ]
    if measured:
        tables.append(_results("The segmenters", measured, MEASURES))
    if not tables:
        return "<p>These weights were not measured.</p>"
    count = len((measured or [("", gate.metrics if gate else {})])[0][1].get("patients", ()))
    return (
        f"{''.join(tables)}<p>{count} test patients, hard gate, statistics of the whole volume, no test-time "
        "augmentation; in brackets 95\u00a0% intervals by bootstrap over patients. Per patient, site and "
        "size of the tumour: docs/results.md.</p>"
    )


def _results(label: str, columns: list[tuple[str, dict[str, Any]]], measures: Mapping[str, str]) -> str:
    rows = [
        (words, *(_figure((found.get("measures") or {}).get(name)) for _, found in columns))
        for name, words in measures.items()
    ]
    return table_html(label, ("", *(title for title, _ in columns)), rows)


def _figure(row: Mapping[str, float] | None) -> str:
    if not row or row.get("value") is None:
        return "–"
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
