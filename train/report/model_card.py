"""Model cards: what a model is for, what it was trained on, and how well it does, by site too."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from lgg.files import write_text
from lgg.models import GATE, TITLES
from lgg.types import Thresholds
from lgg.weights import ModelConfig
from train.data.splits import site
from train.evaluation.results import Results, markdown_table
from train.report.tables import TEMPLATES, headline_tables

#: Code in a patient's name (TCGA_<site>_<id>_<date>) → hospital, as Buda et al. (2019) list them.
SITES = {
    "CS": "Thomas Jefferson University",
    "DU": "Henry Ford Hospital",
    "EZ": "University of North Carolina",
    "FG": "Case Western",
    "HT": "Case Western, St. Joseph's",
}
LICENCE = "cc-by-nc-sa-4.0"
DATASET = "lgg-mri-segmentation"
#: Architecture → the Hub's name of the ImageNet weights that its encoder can begin from.
ENCODERS = {"unet-lite0": "timm/tf_efficientnet_lite0.in1k"}
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


def write_card(folder: Path, config: ModelConfig) -> None:
    """Write the card; the same config gives the same bytes."""
    write_text(folder / "README.md", card_text(config))


def card_text(config: ModelConfig, repo: str = "") -> str:
    """The card of one model as Markdown with its front matter.

    Args:
        repo: where on the Hub it will stand, for the lines that load it; "" for the folder in this project.
    """
    gate = config.architecture == GATE
    return _card(
        "model_card.md",
        _front_matter(task(config), [config.architecture], TITLES[config.architecture], [config]),
        title=TITLES[config.architecture],
        parameters=f"{config.parameters / 1e6:.2f} M parameters",
        job="says how likely a slice holds a low-grade glioma"
        if gate
        else "outlines low-grade glioma in a slice that the gate lets pass",
        load=load_snippet(repo, "" if gate else config.architecture),
        input=input_text(config),
        thresholds=_thresholds(config),
        training=training_text(config),
        evaluation=evaluation_text(config),
        sites=sites_table(config),
    )


def collection_text(
    configs: Sequence[ModelConfig], results: Results, repo: str, figures: Sequence[str] = ()
) -> str:
    """The card of a repository that holds several models.

    Args:
        configs: those of the models, with their metrics.
        results: what was measured.
        repo: `user/name` of the repository.
        figures: paths of pictures in the repository.
    """
    segmenters = [config for config in configs if config.architecture != GATE]
    gates = [config for config in configs if config.architecture == GATE]
    best = max(segmenters, key=lambda c: (_measured(c, "volume_mean") or {"value": 0.0})["value"])
    tables = [
        f"By {protocol}:\n\n{table}"
        for protocol in dict.fromkeys(row.protocol for row in results.rows)
        if (table := headline_tables(results, protocol))
    ]
    name, tasks = repo.rpartition("/")[2], [config.architecture for config in configs]
    return _card(
        "collection_card.md",
        _front_matter("image-segmentation", tasks, name, configs),
        load=load_snippet(repo, best.architecture),
        models=[(TITLES[c.architecture], c.architecture, training_text(c)) for c in configs],
        input="\n\n".join(f"{TITLES[c.architecture]}. {input_text(c)}" for c in (*gates, best)),
        conditions=conditions(best),
        results=tables,
        figures=figures,
        gates={TITLES[config.architecture]: evaluation_text(config) for config in gates},
        best=TITLES[best.architecture],
        sites=sites_table(best),
    )


def _card(template: str, data: ModelCardData, **values: object) -> str:
    shared = {name: (TEMPLATES / f"{name}.md").read_text().strip() for name in ("use", "closing")}
    card = ModelCard.from_template(data, str(TEMPLATES / template), None, **shared, **values)
    return f"{card}\n"


def task(config: ModelConfig) -> str:
    """The Hub's name of what a model does."""
    return "image-classification" if config.architecture == GATE else "image-segmentation"


def _front_matter(kind: str, tags: list[str], name: str, configs: Sequence[ModelConfig]) -> ModelCardData:
    """Front matter; of several models each measure names its own."""
    results = [result for config in configs for result in _eval_results(config, name_model=len(configs) > 1)]
    return ModelCardData(
        license=LICENCE,
        library_name="lgg",
        pipeline_tag=kind,
        tags=["medical", "mri", "brain", "glioma", *tags],
        model_name=name,
        datasets=[DATASET],
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        base_model=list(filter(None, map(_base_model, configs))) or None,
        eval_results=results or None,
    )


def _base_model(config: ModelConfig) -> str | None:
    """The weights on the Hub that training began from, however many stages ago; None from scratch."""
    training = config.training
    while start := training.get("start"):
        training = start
    return ENCODERS.get(config.architecture) if training.get("initialised") == "imagenet" else None


def _eval_results(config: ModelConfig, name_model: bool) -> Iterator[EvalResult]:
    prefix = f"{TITLES[config.architecture]}: " if name_model else ""
    for measure, (metric, words) in SHOWN.items():
        if row := _measured(config, measure):
            yield EvalResult(
                task_type=task(config),
                dataset_type=DATASET,
                dataset_name="LGG MRI segmentation (kaggle_3m)",
                dataset_config=f"{config.metrics['protocol']} protocol",
                dataset_split="test",
                metric_type=metric,
                metric_name=prefix + words,
                metric_value=round(row["value"], 4),
            )


def _measured(config: ModelConfig, measure: str) -> dict[str, Any] | None:
    """A measure's value and bounds; None where it was not measured or is not defined."""
    row = config.metrics.get("measures", {}).get(measure)
    return row if row and row["value"] is not None else None


def load_snippet(repo: str, architecture: str) -> str:
    """Two lines of Python, to be run where this project is installed."""
    given = [f'"{repo}"'] if repo else []
    given += [f'architecture="{architecture}"'] if architecture else []
    return (
        "```python\n"
        "from lgg import Cascade, read_slice\n"
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
    if "teacher" in training:
        taught = [] if config.architecture == GATE else ["half of the loss"]
        taught += ["hints to the inner layers"] if any(stage.get("hints") for stage in config.recipe) else []
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
        f"{stage['epochs']} epochs of {stage['slices_per_epoch']} slices at {stage['size']}×{stage['size']}, "
        f"{stage['loss'].replace('_', ' + ')}"
        for stage in recipe
    )


def evaluation_text(config: ModelConfig) -> str:
    """The headline figures, with what they mean and how sure they are."""
    if not config.metrics:
        return "Not measured yet."
    rows = [
        (words, f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}")
        for name, (_, words) in SHOWN.items()
        if (row := _measured(config, name))
    ]
    return f"{conditions(config)}\n\n{markdown_table(('measure', 'value', '95 % interval'), rows)}"


def conditions(config: ModelConfig) -> str:
    """By which protocol, on how many patients, and how a model was measured."""
    metrics = config.metrics
    how = f"{metrics['cascade']} gate, " if metrics["cascade"] != "none" else ""
    leaky = (
        " Slices of one patient stand on both sides of this split, so these figures flatter."
        if metrics["protocol"] == "slice"
        else ""
    )
    return (
        f"*{metrics['protocol']}* protocol, {len(metrics['patients'])} test patients, {how}{metrics['mode']} "
        f"statistics, no TTA; 95 % intervals by bootstrap over patients.{leaky}"
    )


def _site(patient: str) -> str:
    return site(patient) or "other"


def sites_table(config: ModelConfig) -> str:
    """Patients a site, and what a segmenter reaches on them (the gate's figures know no site)."""
    training = config.split.get("train")
    trained = Counter(map(_site, training)) if isinstance(training, list) else Counter()
    tested: dict[str, list[Any]] = defaultdict(list)
    for patient, score in config.metrics.get("patients", {}).items():
        tested[_site(patient)].append(score)
    if not trained and not tested:
        return "Not known: the split names no patients."
    segmenter = config.architecture != GATE
    rows = []
    for code in sorted({*trained, *tested}):
        row = [SITES.get(code, code), trained[code], len(tested[code])]
        if segmenter:
            scores = tested[code]
            row += [f"{mean(scores):.3f}", f"{min(scores):.3f}"] if scores else ["not tested", ""]
        rows.append(row)
    columns = ["site", "patients trained on", "tested on"]
    columns += ["Dice a volume, mean", "lowest"] if segmenter else []
    few = (
        "All sites are hospitals in the United States, and a site with few patients says little about itself."
    )
    return f"{markdown_table(columns, rows)}\n\n{few}"
