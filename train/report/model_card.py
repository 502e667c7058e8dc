"""Model cards: what a model is for, what it was trained on, and how well it does, by site too."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from lgg.files import write_text
from lgg.models import GATE, TITLES
from lgg.weights import ModelConfig
from train.data.splits import site
from train.evaluation.results import Results, markdown_table
from train.report.tables import fill, headline_tables

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
    gate, title = config.architecture == GATE, TITLES[config.architecture]
    return fill(
        "model_card.md",
        card_data=_front_matter(task(config), [config.architecture], title, [config]).to_yaml(),
        config=config,
        gate=gate,
        title=title,
        load=_load_arguments(repo, "" if gate else config.architecture),
        measures=measures_table(config),
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
    best = max(segmenters, key=lambda c: (_measured(c, "volume_mean") or {"value": 0.0})["value"])
    protocols = dict.fromkeys(row.protocol for row in results.rows)
    name, tags = repo.rpartition("/")[2], [config.architecture for config in configs]
    return fill(
        "collection_card.md",
        card_data=_front_matter("image-segmentation", tags, name, configs).to_yaml(),
        load=_load_arguments(repo, best.architecture),
        models=configs,
        gates=[config for config in configs if config.architecture == GATE],
        best=best,
        titles=TITLES,
        results={name: table for name in protocols if (table := headline_tables(results, name))},
        figures=figures,
        measures_table=measures_table,
        sites=sites_table(best),
    )


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


def _load_arguments(repo: str, architecture: str) -> str:
    """What `Cascade.from_pretrained` is called with."""
    given = [f'"{repo}"'] if repo else []
    given += [f'architecture="{architecture}"'] if architecture else []
    return ", ".join(given)


def measures_table(config: ModelConfig) -> str:
    """The headline figures, and how sure they are."""
    rows = [
        (words, f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}")
        for name, (_, words) in SHOWN.items()
        if (row := _measured(config, name))
    ]
    return markdown_table(("measure", "value", "95 % interval"), rows)


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
