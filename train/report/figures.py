"""The figures of the results: training curves, the gate, Dice a patient, the threshold. No image in any."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lgg.files import write_atomically
from lgg.models import GATE, TITLES
from lgg.weights import available
from train.evaluation.results import Results
from train.fit.checkpoint import LOG_FILE, read_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Okabe and Ito's palette, told apart with any colour vision.
COLOURS = {
    GATE: "#000000",
    "unet": "#0072B2",
    "unet-mini": "#E69F00",
    "unet-resnext50": "#009E73",
    "unet-lite0": "#D55E00",
}
#: Line styles as well, so that no figure needs its colours.
STYLES = {GATE: "-", "unet": "--", "unet-mini": ":", "unet-resnext50": "-.", "unet-lite0": "-"}
CALIBRATION_BINS = 10


def draw_figures(results: Results, weights: Path) -> list[Path]:
    """Write every figure that has something to show into `figures/`; the same results give the same bytes."""
    makers: dict[str, Callable[[Figure], bool]] = {
        "training": lambda figure: _training(figure, weights),
        "gate": lambda figure: _gate(figure, results),
        "patients": lambda figure: _patients(figure, results),
        "threshold": lambda figure: _threshold(figure, results),
    }
    return [
        path for name, make in makers.items() if (path := _draw(weights / "figures" / f"{name}.png", make))
    ]


def _draw(path: Path, make: Callable[["Figure"], bool]) -> Path | None:
    # Imported here: matplotlib is slow to load, and most commands draw nothing.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    if not make(figure):
        return None
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8)
    # Without matplotlib's version in it, so that an update of matplotlib alone changes no file.
    write_atomically(
        path, lambda partial: figure.savefig(partial, format="png", dpi=120, metadata={"Software": None})
    )
    return path


def _training(figure: "Figure", weights: Path) -> bool:
    from matplotlib.ticker import LogLocator

    logs = {name: rows for name in available(weights) if (rows := read_log(weights / name / LOG_FILE))}
    if not logs:
        return False
    losses, measures = figure.subplots(1, 2)
    for name, rows in logs.items():
        at = range(1, len(rows) + 1)
        style = {"color": COLOURS[name], "linestyle": STYLES[name], "label": TITLES[name]}
        losses.plot(at, [row["val_loss"] for row in rows], **style)
        measure = "val_auroc" if name == GATE else "val_dice"
        measures.plot(at, [row[measure] for row in rows], **style)
        for start in (n for n in range(1, len(rows)) if rows[n]["stage"] != rows[n - 1]["stage"]):
            measures.axvline(start + 0.5, color=COLOURS[name], linewidth=0.6, alpha=0.6)
    losses.set(title="Validation loss", xlabel="epoch", ylabel="loss", yscale="log")
    losses.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    losses.yaxis.set_minor_formatter("{x:.3g}")
    losses.yaxis.set_major_formatter("{x:.3g}")
    measures.set(title="Validation: Dice a volume, the gate's AUROC", xlabel="epoch", ylim=(0, 1))
    return True


def _gate(figure: "Figure", results: Results) -> bool:
    gates = [gate for gate in results.gates if gate.protocol == "patient"]
    if not gates:
        return False
    probability, tumour = np.array(gates[0].probability), np.array(gates[0].tumour, bool)
    roc, calibration = figure.subplots(1, 2)
    order = np.argsort(-probability, kind="stable")
    roc.plot(
        np.concatenate([[0], np.cumsum(~tumour[order]) / max(1, (~tumour).sum())]),
        np.concatenate([[0], np.cumsum(tumour[order]) / max(1, tumour.sum())]),
        color=COLOURS["unet"],
    )
    says = probability >= np.array(gates[0].threshold)
    false, true = says[~tumour].mean(), says[tumour].mean()
    roc.plot([false], [true], "o", color=COLOURS["unet-lite0"], label="at the gate's threshold")
    roc.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    roc.set(title="ROC of the gate", xlabel="false positive rate", ylabel="true positive rate")
    bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    filled = np.unique(bins)
    mean = [probability[bins == number].mean() for number in filled]
    share = [tumour[bins == number].mean() for number in filled]
    size = [20 + 4 * np.sqrt((bins == number).sum()) ** 1.5 for number in filled]
    calibration.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, label="perfectly calibrated")
    calibration.plot(mean, share, color=COLOURS["unet"], linewidth=0.8)
    calibration.scatter(mean, share, size, color=COLOURS["unet"], label="slices (area: their number)")
    calibration.set(title="Calibration of the gate", xlabel="probability said", ylabel="share with a glioma")
    return True


def _patients(figure: "Figure", results: Results) -> bool:
    rows = [row for row in results.patients if row.protocol == "patient"]
    models = list(dict.fromkeys(row.model for row in rows))
    if not rows:
        return False
    ranked, size = figure.subplots(1, 2)
    markers = dict(zip(COLOURS, "xosD^", strict=True))
    for model in models:
        own = [row for row in rows if row.model == model]
        style = {"color": COLOURS[model], "label": TITLES[model], "marker": markers[model], "markersize": 5}
        ranked.plot(
            range(1, len(own) + 1), sorted(row.volume for row in own), linestyle=STYLES[model], **style
        )
        size.plot([row.tumour_pixels for row in own], [row.volume for row in own], linestyle="", **style)
    ranked.set(title="Dice of each patient, from worst to best", xlabel="rank", ylabel="Dice", ylim=(0, 1))
    size.set(title="Dice against size of the tumour", xlabel="tumour pixels, all slices", ylim=(0, 1))
    return True


def _threshold(figure: "Figure", results: Results) -> bool:
    counts = [count for count in results.pixels if count.protocol == "patient"]
    if not counts:
        return False
    curve, dice = figure.subplots(1, 2)
    for count in counts:
        tp, fp = count.above()
        found = tp + fp > 0
        precision, recall = tp[found] / (tp + fp)[found], tp[found] / tp[0]
        thresholds = np.arange(len(tp))[found] / len(tp)
        style = {"color": COLOURS[count.model], "linestyle": STYLES[count.model]}
        curve.plot(recall, precision, label=TITLES[count.model], **style)
        values = count.dice()[found]
        dice.plot(thresholds, values, label=TITLES[count.model], **style)
        chosen = int(np.argmin(abs(thresholds - count.threshold)))
        curve.plot([recall[chosen]], [precision[chosen]], "o", color=COLOURS[count.model])
        dice.plot([thresholds[chosen]], [values[chosen]], "o", color=COLOURS[count.model])
    curve.set(
        title="Precision and recall of pixels, no gate", xlabel="recall", ylabel="precision", ylim=(0, 1)
    )
    dice.set(
        title="Dice over all pixels, by threshold (dot: ours)", xlabel="threshold", ylabel="Dice", ylim=(0, 1)
    )
    return True
