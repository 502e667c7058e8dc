"""The `README.md` beside a model's weights, written from its `config.json` alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lgg.files import write_text
from lgg.models import GATE, TITLES
from lgg.weights import ModelConfig, Thresholds
from train.card_metadata import SHOWN, model_front_matter
from train.card_sites import sites_table

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
        "from lgg.reading import read_slice\n"
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
