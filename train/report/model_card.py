"""Who was trained and tested on, by the hospital they came from: where a model's bias would show."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from lgg.files import write_text
from lgg.models import GATE, TITLES
from lgg.types import Thresholds
from lgg.weights import ModelConfig
from train.data.splits import site

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


LICENCE = "cc-by-nc-sa-4.0"
#: Measures that cards show, in this order: the Hub's name of the metric, and words for people.
SHOWN = {
    "volume_mean": ("dice", "Dice a volume, mean"),
    "volume_median": ("dice", "Dice a volume, median"),
    "slice_tumour": ("dice", "Dice a slice, slices with tumour"),
    "slice_all_268_125": ("dice", "Dice a slice, all slices at the reference's share of empty ones"),
    "pooled": ("dice", "Dice over all pixels"),
    "empty_kept": ("specificity", "Empty slices kept empty"),
    "auroc": ("roc_auc", "AUROC"),
    "accuracy": ("accuracy", "Accuracy"),
    "recall_tumour": ("recall", "Recall, slices with tumour"),
    "recall_empty": ("recall", "Recall, slices without"),
    "ece": ("expected_calibration_error", "Expected calibration error"),
}


def task(config: ModelConfig) -> str:
    """The Hub's name of what a model does."""
    return "image-classification" if config.architecture == GATE else "image-segmentation"


def model_front_matter(config: ModelConfig) -> str:
    """Front matter of one model's card, between its two lines of dashes."""
    return _front_matter(task(config), [config.architecture], TITLES[config.architecture], [config])


def collection_front_matter(configs: Sequence[ModelConfig], name: str) -> str:
    """Front matter of a repository that holds several models; each measure names its model."""
    return _front_matter("image-segmentation", [one.architecture for one in configs], name, configs)


def _front_matter(kind: str, tags: list[str], name: str, configs: Sequence[ModelConfig]) -> str:
    results = [result for config in configs for result in _results(config, name_model=len(configs) > 1)]
    data = ModelCardData(
        license=LICENCE,
        library_name="lgg",
        pipeline_tag=kind,
        tags=["medical", "mri", "brain", "glioma", *tags],
        model_name=name,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _results(config: ModelConfig, name_model: bool) -> Iterator[EvalResult]:
    if not config.metrics:
        return
    prefix = f"{TITLES[config.architecture]}: " if name_model else ""
    for measure, (metric, words) in SHOWN.items():
        row = config.metrics["measures"].get(measure)
        if row and row["value"] is not None:
            yield EvalResult(
                task_type=task(config),
                dataset_type="lgg-mri-segmentation",
                dataset_name="LGG MRI segmentation (kaggle_3m)",
                dataset_config=f"{config.metrics['protocol']} protocol",
                dataset_split="test",
                metric_type=metric,
                metric_name=prefix + words,
                metric_value=round(row["value"], 4),
            )


USE = """For research and teaching on lower-grade glioma in axial brain MRI, and as a baseline to beat.
Not for diagnosis, treatment or triage, or anything else that reaches a patient. Not for other tumours
(glioblastoma, metastases), children, scans after surgery, CT, or planes other than axial: it was not made for
any of them."""

LIMITS = """- Gliomas that barely show on FLAIR may be missed, and bright lesions of other kinds outlined.
- Each slice is judged without its neighbours.
- The masks it learnt from were drawn on FLAIR by one person and approved by a radiologist; experts disagree.
- A threshold chosen on so few validation patients may suit another scanner badly: choose your own."""

LICENCES = """Weights: CC BY-NC-SA 4.0, as the data they were trained on, as far as its licence is known: no
commercial use. Code: MIT."""

CITATION = """Cite the data set's papers: Buda, Saha, Mazurowski, *Computers in Biology and Medicine* 109
(2019), and Mazurowski et al., *Journal of Neuro-Oncology* (2017); and this software by its CITATION.cff."""

#: How every card ends.
CLOSING = ("## Limits", LIMITS, "## Licence and citation", LICENCES, CITATION)


def write_card(folder: Path, config: ModelConfig) -> None:
    """Write the card; the same config gives the same bytes."""
    text = card_text(config)
    write_text(folder / "README.md", text)


def card_text(config: ModelConfig, repo: str = "") -> str:
    """The card as Markdown.

    Args:
        repo: where on the Hub it will stand, for the lines that load it; "" for the folder in this project.
    """
    job = (
        "says how likely a slice holds a low-grade glioma"
        if config.architecture == GATE
        else "outlines low-grade glioma in a slice that the gate lets pass"
    )
    sections = [
        model_front_matter(config) + f"# {TITLES[config.architecture]}",
        f"{config.parameters / 1e6:.2f} M parameters; {job}. **Research only, not a medical device.**",
        "## How to load",
        load_snippet(repo, "" if config.architecture == GATE else config.architecture),
        "## Use",
        USE,
        "## Input and output",
        input_text(config),
        f"Thresholds, from validation patients: {_thresholds(config)}.",
        "## Training",
        training_text(config),
        "## Evaluation",
        results_table(config.metrics),
        "## By site",
        sites_table(config),
        *CLOSING,
    ]
    return "\n\n".join(sections) + "\n"


def load_snippet(repo: str, architecture: str) -> str:
    """Three lines of Python, to be run where this project is installed."""
    given = [f'"{repo}"'] if repo else []
    given += [f'architecture="{architecture}"'] if architecture else []
    return (
        "```python\n"
        "from lgg.cascade import Cascade\n"
        "from lgg.io import read_slice\n"
        f'prediction = Cascade.from_pretrained({", ".join(given)}).predict(read_slice("slice.tif"))\n'
        "```"
    )


def input_text(config: ModelConfig) -> str:
    """Channels, preprocessing and what comes out."""
    what = "slice" if config.architecture == GATE else "pixel"
    size = f"{config.input_size}×{config.input_size}"
    return (
        f"Channels: {', '.join(config.channels)}; FLAIR alone is copied to all three. Each slice is fitted "
        f"into {size}, {config.normalisation}. One logit a {what}. `lgg.preprocess` does all of it."
    )


def _thresholds(config: ModelConfig) -> str:
    chosen, series = config.thresholds, config.series_thresholds
    if config.architecture == GATE:
        return f"gate {chosen.gate:g}; its logits are divided by the temperature {config.temperature:g}"
    if series is None:
        return _decisions(chosen)
    return f"{_decisions(chosen)}. In a series: {_decisions(series)}"


def _decisions(chosen: Thresholds) -> str:
    soft = f"soft gate {chosen.low:g} / {chosen.high:g} / {chosen.keep:g} (low / high / keep)"
    smallest = f"components below {chosen.smallest * 256**2:.0f} pixels of 256×256 dropped"
    return f"hard gate {chosen.gate:g}, mask {chosen.mask:g}, {smallest}, {soft}"


def training_text(config: ModelConfig) -> str:
    """Data, split, stages, minutes and hardware."""
    training = config.training
    if not training:
        return "Not trained."
    sides = ", ".join(
        f"{names if isinstance(names, int) else len(names)} {side}"
        for side, names in config.split.items()
        if isinstance(names, int | list)
    )
    stages = _stages(config.recipe)
    split = config.split.get("protocol", "unknown")
    if "stopped_after" in training:
        stages += f"; stopped after epoch {training['stopped_after']}"
    if "teacher" in training:
        taught = [] if config.architecture == GATE else ["half of the loss"]
        taught += ["hints to the inner layers"] if any(one.get("hints") for one in config.recipe) else []
        stages += f"; {' and '.join(taught)} by the teacher {training['teacher']}"
    return (
        f"Data: {config.data}. Split: {split} ({sides}). {stages}. "
        f"Began from {_began(training)}; best epoch {training['best_epoch']} by validation; "
        f"{training['minutes']} minutes on {training['hardware']}; {config.date}."
    )


def _began(training: dict[str, Any]) -> str:
    """What the weights were at first; of other weights, how they were made, back to the first of them."""
    start = training.get("start")
    if not start:
        return str(training["initialised"])
    minutes = f"{start['minutes']} minutes from {_began(start)}"
    return f"weights {start['sha256'][:12]} ({_stages(start['stages'])}; {minutes})"


def _stages(recipe: Sequence[dict[str, Any]]) -> str:
    return "; then ".join(
        f"{one['epochs']} epochs of {one['slices_per_epoch']} slices at {one['size']}×{one['size']}, "
        f"{one['loss'].replace('_', ' + ')}"
        for one in recipe
    )


def results_table(metrics: dict[str, Any]) -> str:
    """The headline figures, with what they mean and how sure they are."""
    if not metrics:
        return "Not measured yet."
    how = f"{metrics['cascade']} gate, " if metrics["cascade"] != "none" else ""
    leaky = (
        " Slices of one patient stand on both sides of this split, so these figures flatter."
        if metrics["protocol"] == "slice"
        else ""
    )
    lines = [
        f"*{metrics['protocol']}* protocol, {len(metrics['patients'])} test patients, {how}{metrics['mode']} "
        f"statistics, no TTA; 95 % intervals by bootstrap over patients.{leaky}",
        "",
        "| measure | value | 95 % interval |",
        "|---|---|---|",
    ]
    for name, (_, words) in SHOWN.items():
        row = metrics["measures"].get(name)
        if row and row["value"] is not None:
            lines.append(f"| {words} | {row['value']:.3f} | {row['low']:.3f} to {row['high']:.3f} |")
    return "\n".join(lines)


#: Columns of the table of models and of that of all cascades.
COLUMNS = ("volume_mean", "volume_median", "slice_tumour", "empty_kept")


def collection_text(
    configs: Sequence[ModelConfig], rows: Sequence[Mapping[str, Any]], repo: str, figures: Sequence[str] = ()
) -> str:
    """The card as Markdown.

    Args:
        configs: those of the models, with their metrics.
        rows: `results.json`.
        repo: `user/name` of the repository.
        figures: paths of pictures in the repository.
    """
    segmenters = [one for one in configs if one.architecture != GATE]
    gates = [one for one in configs if one.architecture == GATE]
    best = max(segmenters, key=lambda one: _value(one, "volume_mean"))
    sections = [
        collection_front_matter(configs, repo.rpartition("/")[2]) + "# Low-grade glioma in brain MRI",
        "A *gate* says how likely an axial slice holds a low-grade glioma; a *segmenter* outlines it. "
        "**Research only, not a medical device.**",
        "## How to load",
        "With this project installed (`pip install .` in its checkout):",
        load_snippet(repo, best.architecture),
        "`architecture` is any segmenter below, the gate comes with it; `revision` is a version or a commit.",
        "## Models",
        models_table(configs),
        "## Use",
        USE,
        "## Input and output",
        *(f"{TITLES[one.architecture]}. {input_text(one)}" for one in (*gates, best)),
        "## Training",
        "\n".join(f"- {TITLES[one.architecture]}. {training_text(one)}" for one in configs),
        "## Evaluation",
        _protocol(best),
        cascades_table(rows),
        *(f"![{path}]({path})" for path in figures),
        "All rows: [results.json](results.json).",
        *(f"## {TITLES[one.architecture]} alone\n\n{results_table(one.metrics)}" for one in gates),
        f"## {TITLES[best.architecture]} by site",
        sites_table(best),
        *CLOSING,
    ]
    return "\n\n".join(sections) + "\n"


def models_table(configs: Sequence[ModelConfig]) -> str:
    """A row a model: size, input, training, headline figures."""
    lines = [
        "| | parameters | input | minutes of training | "
        + " | ".join(SHOWN[one][1] for one in COLUMNS)
        + " |",
        "|---" * (4 + len(COLUMNS)) + "|",
    ]
    for one in configs:
        title = f"[{TITLES[one.architecture]}]({one.architecture}/README.md) (`{one.architecture}`)"
        minutes = f"{one.training['minutes']} on {one.training['hardware']}" if one.training else ""
        cells = [_cell(one.metrics["measures"].get(name)) for name in COLUMNS]
        size = f"{one.parameters / 1e6:.2f} M | {one.input_size}×{one.input_size}"
        lines.append(f"| {title} | {size} | {minutes} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cascades_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row for each way to run a segmenter: protocol, gate, statistics or TTA; and for each recipe."""
    found: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["measure"] in COLUMNS:
            key = tuple(str(row[one]) for one in ("model", "protocol", "cascade", "mode", "recipe"))
            found.setdefault(key, {})[row["measure"]] = row
    if not found:
        return "No further rows."
    lines = [
        "| model | protocol | gate | mode | recipe | " + " | ".join(SHOWN[one][1] for one in COLUMNS) + " |",
        "|---" * (5 + len(COLUMNS)) + "|",
    ]
    lines += [
        f"| {' | '.join(key)} | {' | '.join(_cell(cells.get(name)) for name in COLUMNS)} |"
        for key, cells in found.items()
    ]
    return "\n".join(lines)


def _protocol(config: ModelConfig) -> str:
    metrics = config.metrics
    return (
        f"Headline figures: *{metrics['protocol']}* protocol, {len(metrics['patients'])} test patients, "
        f"{metrics['cascade']} gate, {metrics['mode']} statistics; 95 % intervals by bootstrap over "
        "patients. *Slice* protocols put slices of one patient on both sides and flatter. Rows of `tta` "
        "average flips, those of `flair` see FLAIR alone, those of `slice` use a slice's own statistics."
    )


def _value(config: ModelConfig, measure: str) -> float:
    return (config.metrics["measures"].get(measure) or {}).get("value") or 0.0


def _cell(row: Mapping[str, Any] | None) -> str:
    if not row or row["value"] is None:
        return ""
    return f"{row['value']:.3f} ({row['low']:.3f}–{row['high']:.3f})"
