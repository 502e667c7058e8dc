"""The README's numbers: `python -m train.readme` writes them from the weights' configs and the benchmark.

They stand between `<!-- results -->` and `<!-- /results -->`; nothing there is typed by hand.
"""

import re
from pathlib import Path

from lgg.files import write_atomically
from lgg.models import GATE, TITLES
from lgg.weights import REPOSITORY_WEIGHTS, ModelConfig, available, load_config
from train.benchmark import load_benchmark, table

README = REPOSITORY_WEIGHTS.parent / "README.md"
BLOCK = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)
SEGMENTER_COLUMNS = {
    "volume_mean": "volume mean",
    "volume_median": "volume median",
    "slice_tumour": "slice-tumour",
    "slice_all_268_125": "slice-all 268:125",
    "empty_kept": "empty kept empty",
}
GATE_COLUMNS = {"auroc": "AUROC", "accuracy": "accuracy", "recall_tumour": "recall", "ece": "ECE"}


def results(weights: Path = REPOSITORY_WEIGHTS) -> str:
    """The block's text: what was measured on test patients, and how fast it is."""
    configs = [load_config(weights / name) for name in available(weights)]
    measured = [one for one in configs if one.metrics]
    segmenters = [one for one in measured if one.architecture != GATE]
    gates = [one for one in measured if one.architecture == GATE]
    parts = []
    if segmenters:
        first = segmenters[0].metrics
        parts.append(
            f"**{str(first['protocol']).capitalize()} split, {len(first['patients'])} test patients** whom "
            f"nothing was trained or chosen on; {first['cascade']} gate, {first['mode']} statistics, no "
            "test-time augmentation. Dice with 95 % intervals by bootstrap over patients."
        )
        parts.append(_table(segmenters, SEGMENTER_COLUMNS))
    if gates:
        parts.append(_table(gates, GATE_COLUMNS))
    speed = load_benchmark(weights / "benchmark.json")
    if speed:
        parts.append(table(speed))
    return "\n\n".join(parts) + "\n"


def _table(configs: list[ModelConfig], columns: dict[str, str]) -> str:
    lines = [f"| | parameters | {' | '.join(columns.values())} |", "|---" * (len(columns) + 2) + "|"]
    for config in configs:
        cells = [_cell(config.metrics["measures"][name]) for name in columns]
        title = f"{TITLES[config.architecture]} (`{config.architecture}`)"
        lines.append(f"| {title} | {config.parameters / 1e6:.2f} M | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict[str, float]) -> str:
    return f"{row['value']:.3f} ({row['low']:.3f}–{row['high']:.3f})"


def main() -> None:
    """Rewrite the block; running it twice changes nothing."""
    text = BLOCK.sub(lambda _: results(), README.read_text())
    write_atomically(README, lambda path: path.write_text(text))


if __name__ == "__main__":
    main()
