"""The curves of a run as a picture."""

from pathlib import Path

from lgg.files import write_atomically
from train.checkpoint import disk_said, read_log


def draw_curves(run: Path) -> None:
    """Write `curves.png` from `log.jsonl`: losses on the left, validation measures on the right.

    Raises:
        DataError: it cannot be written.
    """
    # Imported here: matplotlib is slow to load, and only this function draws.
    from matplotlib.figure import Figure

    rows = read_log(run)
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    losses, measures = figure.subplots(1, 2)
    for name, label in (("train_loss", "training"), ("val_loss", "validation")):
        losses.plot(epochs, [row[name] for row in rows], marker=".", label=label)
    for name in sorted(rows[0]):
        if name.startswith("val_") and name != "val_loss":
            measures.plot(epochs, [row[name] for row in rows], marker=".", label=name.removeprefix("val_"))
    losses.set(title=run.name, xlabel="epoch", ylabel="loss")
    measures.set(title="validation patients, training resolution", xlabel="epoch", ylim=(None, 1))
    for axes in (losses, measures):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    with disk_said(run):
        write_atomically(run / "curves.png", lambda path: figure.savefig(path, format="png", dpi=110))
