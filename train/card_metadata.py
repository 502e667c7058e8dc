"""A card's front matter: what the Hub reads, with the measured figures as a `model-index`."""

from collections.abc import Iterator, Sequence

from huggingface_hub import EvalResult, ModelCardData

from lgg.models import GATE, TITLES
from lgg.weights import ModelConfig

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
