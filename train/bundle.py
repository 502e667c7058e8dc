"""What goes into the model repository, decided before anything is sent."""

import hashlib
from dataclasses import asdict
from pathlib import Path

from lgg.errors import PublishError
from lgg.models import GATE
from lgg.weights import CONFIG_FILE, WEIGHTS_FILE, ModelConfig, available, load_config
from train.card import card_text
from train.card_collection import collection_text
from train.results import load_results

#: Path in the repository → a file on this disk, or content that was written for it.
Files = dict[str, Path | bytes]
RESULTS = "results.json"
#: What lies beside the models and is published with them: figures and results.
BESIDE = {".json", ".png", ".svg", ".csv"}


def model_files(weights: Path, repo: str) -> Files:
    """Weights, configs and cards of every model, results and figures.

    Args:
        weights: a folder of weights with a gate and a segmenter.
        repo: `user/name` that the cards tell people to load.

    Raises:
        PublishError: there is no cascade, or a model was not measured, or its weights are not those that its
            config describes.
        WeightsError: a config cannot be read.
    """
    names = available(weights)
    if GATE not in names or len(names) < 2:
        raise PublishError("A gate and a segmenter are needed, and the folder of weights lacks one of them.")
    configs = [_checked(weights / name) for name in names]
    files: Files = {}
    for name, config in zip(names, configs, strict=True):
        files[f"{name}/{CONFIG_FILE}"] = weights / name / CONFIG_FILE
        files[f"{name}/{WEIGHTS_FILE}"] = weights / name / WEIGHTS_FILE
        files[f"{name}/README.md"] = card_text(config, repo).encode()
    for path in sorted(weights.rglob("*")):
        inside = path.relative_to(weights).as_posix()
        if path.is_file() and path.suffix in BESIDE and inside not in files:
            files[inside] = path
    rows = [asdict(one) for one in load_results(weights / RESULTS).rows]
    figures = [path for path in files if path.endswith((".png", ".svg"))]
    files["README.md"] = collection_text(configs, rows, repo, figures).encode()
    return files


def _checked(folder: Path) -> ModelConfig:
    config = load_config(folder)
    if not config.metrics.get("measures"):
        raise PublishError(
            f"'{folder.name}' was never measured. Run `python -m train report --data DIR` first."
        )
    if hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest() != config.sha256:
        raise PublishError(f"{WEIGHTS_FILE} of '{folder.name}' is not the file that its config describes.")
    return config


def size(content: Path | bytes) -> int:
    """Bytes of a file or of written content."""
    return content.stat().st_size if isinstance(content, Path) else len(content)


def listing(files: Files) -> str:
    """Every file with its size in bytes, and the sum."""
    rows = [(size(content), path) for path, content in sorted(files.items())]
    rows.append((sum(one for one, _ in rows), f"in {len(rows)} files"))
    return "\n".join(f"{count:>12,}  {path}" for count, path in rows)
