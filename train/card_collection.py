"""The front page of a repository on the Hub that holds all models: which there are and what they reach."""

from collections.abc import Mapping, Sequence
from typing import Any

from lgg.models import GATE, TITLES
from lgg.weights import ModelConfig
from train.card import CLOSING, USE, input_text, load_snippet, results_table, training_text
from train.card_metadata import SHOWN, collection_front_matter
from train.card_sites import sites_table

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
