"""The networks, by name. Every one takes (N, 3, H, W) float32 and returns logits, never probabilities.

The gate returns (N, 1), the segmenters (N, 1, H, W). No builder downloads anything: weights come from
`lgg.weights`, an ImageNet start from `train.fit.initialise`.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from lgg.models.unet import Activation, Upsampling

# torch and what builds on it take seconds to import: only who builds a network waits for them.

GATE = "gate"


def _gate() -> "nn.Module":
    """ResNet18 (He et al., 2016), 11.18 M parameters: does this slice hold a glioma?"""
    from torchvision.models import resnet18

    return resnet18(num_classes=1)


def _unet(widths: tuple[int, ...], activation: "Activation", upsampling: "Upsampling") -> "nn.Module":
    from lgg.models.unet import UNet

    return UNet(widths, activation, upsampling)


def _smp_unet(encoder: str) -> "nn.Module":
    import segmentation_models_pytorch as smp

    return smp.Unet(encoder, encoder_weights=None, in_channels=3, classes=1)


#: Architecture → builder. Add a network here and every command, test and page knows it.
BUILDERS: dict[str, Callable[[], "nn.Module"]] = {
    GATE: _gate,
    # The classic U-Net, 31.0 M parameters.
    "unet": partial(_unet, (64, 128, 256, 512, 1024), "relu", "transposed"),
    # A U-Net of half the width and one level less, 1.80 M parameters.
    "unet-mini": partial(_unet, (32, 64, 128, 256), "elu", "nearest"),
    # U-Net with a ResNeXt50 32×4d encoder, 32.0 M parameters.
    "unet-resnext50": partial(_smp_unet, "resnext50_32x4d"),
    # U-Net with an EfficientNet-Lite0 encoder, 5.61 M parameters: ours.
    "unet-lite0": partial(_smp_unet, "timm-tf_efficientnet_lite0"),
}

#: Architecture → its name on the page and in tables.
TITLES = {
    GATE: "ResNet18 gate",
    "unet": "U-Net",
    "unet-mini": "U-Net mini",
    "unet-resnext50": "U-Net ResNeXt50",
    "unet-lite0": "U-Net Lite0",
}

SEGMENTERS = tuple(name for name in BUILDERS if name != GATE)


def build(architecture: str) -> "nn.Module":
    """A freshly initialised network.

    Raises:
        KeyError: `architecture` is not in `BUILDERS`.
    """
    return BUILDERS[architecture]()


def parameters(model: "nn.Module") -> int:
    """How many parameters a network has."""
    return sum(tensor.numel() for tensor in model.parameters())
