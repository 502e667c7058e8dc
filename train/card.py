"""The `README.md` beside a model's weights, written from its `config.json` alone."""

from pathlib import Path
from typing import Any

from lgg.files import write_text
from lgg.models import GATE, TITLES
from lgg.weights import ModelConfig

#: Measures that the card shows, in this order, by the words it uses for them.
SHOWN = {
    "volume_mean": "Dice a volume, mean",
    "volume_median": "Dice a volume, median",
    "slice_tumour": "Dice a slice, slices with tumour",
    "slice_all_268_125": "Dice a slice, all slices at the reference's share of empty ones",
    "pooled": "Dice over all pixels",
    "empty_kept": "Empty slices kept empty",
    "auroc": "AUROC",
    "accuracy": "Accuracy",
    "recall_tumour": "Recall, slices with tumour",
    "recall_empty": "Recall, slices without",
    "ece": "Expected calibration error",
}

HEADER = """---
license: cc-by-nc-sa-4.0
library_name: lgg
pipeline_tag: {task}
tags: [medical, mri, brain, glioma, {tag}]
---
"""


def write_card(folder: Path, config: ModelConfig) -> None:
    """Write the card; the same config gives the same bytes."""
    text = card_text(config)
    write_text(folder / "README.md", text)


def card_text(config: ModelConfig) -> str:
    """The card as Markdown."""
    gate = config.architecture == GATE
    task = "image-classification" if gate else "image-segmentation"
    job = (
        "says how likely a slice holds a low-grade glioma"
        if gate
        else "outlines low-grade glioma in a slice that the gate lets pass"
    )
    load = (
        "from lgg.cascade import Cascade\nfrom lgg.reading import read_slice\n"
        f"prediction = Cascade.from_pretrained({'' if gate else f'architecture={config.architecture!r}'})"
        '.predict(read_slice("slice.tif"))'
    )
    sections = [
        HEADER.format(task=task, tag=config.architecture) + f"# {TITLES[config.architecture]}",
        f"{config.parameters / 1e6:.2f} M parameters; {job}. **Research only, not a medical device.**",
        f"```python\n{load}\n```",
        "## Input and output",
        _input(config),
        f"Thresholds, from validation patients: {_thresholds(config)}.",
        "## Training",
        _training(config),
        "## Results",
        _results(config.metrics),
        "## Licence",
        "Weights: CC BY-NC-SA 4.0, as the data they were trained on. Code: MIT.",
    ]
    return "\n\n".join(sections) + "\n"


def _input(config: ModelConfig) -> str:
    what = "slice" if config.architecture == GATE else "pixel"
    size = f"{config.input_size}×{config.input_size}"
    return f"{', '.join(config.channels)}, at {size}; {config.normalisation}. One logit a {what}."


def _thresholds(config: ModelConfig) -> str:
    chosen = config.thresholds
    if config.architecture == GATE:
        return f"gate {chosen.gate:g}"
    soft = f"soft gate {chosen.low:g} / {chosen.high:g} / {chosen.keep:g}"
    return f"mask {chosen.mask:g}, {soft} (low / high / keep)"


def _training(config: ModelConfig) -> str:
    training = config.training
    if not training:
        return "Not trained."
    sides = ", ".join(
        f"{len(names)} {side}" for side, names in config.split.items() if isinstance(names, list)
    )
    stages = "; then ".join(
        f"{one['epochs']} epochs of {one['slices_per_epoch']} slices at {one['size']}×{one['size']}, "
        f"{one['loss'].replace('_', ' + ')}"
        for one in config.recipe
    )
    split = config.split.get("protocol", "unknown")
    return (
        f"Data: {config.data}. Split: {split} ({sides}). {stages}. "
        f"Began from {training['initialised']}; best epoch {training['best_epoch']} by validation; "
        f"{training['minutes']} minutes on {training['hardware']}; {config.date}."
    )


def _results(metrics: dict[str, Any]) -> str:
    if not metrics:
        return "Not measured yet."
    how = f"{metrics['cascade']} gate, " if metrics["cascade"] != "none" else ""
    count = len(metrics["patients"])
    lines = [
        f"*{metrics['protocol']}* protocol, {count} test patients, {how}{metrics['mode']} statistics, "
        "no TTA; 95 % intervals by bootstrap over patients.",
        "",
        "| measure | value | 95 % interval |",
        "|---|---|---|",
    ]
    for name, words in SHOWN.items():
        row = metrics["measures"].get(name)
        if row and row["value"] is not None:
            lines.append(f"| {words} | {row['value']:.3f} | {row['low']:.3f} to {row['high']:.3f} |")
    return "\n".join(lines)
