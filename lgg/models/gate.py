"""The gate's second answer: where in the slice its evidence lies."""

from torch import Tensor, nn


class LogitsAndEvidence(nn.Module):
    """A ResNet's logits, and its Grad-CAM (Selvaraju et al., 2017) at the last convolutional layer.

    Behind that layer a ResNet only averages and weighs, so the gradient of its logit by a channel is that
    channel's weight over the number of cells, the same everywhere. No hook or backward pass is needed, and
    threads may share the network.
    """

    def __init__(self, gate: nn.Module) -> None:
        """`gate` has the outline of torchvision's ResNet: layers, then `avgpool` and `fc`."""
        super().__init__()
        self.gate = gate

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) to logits (N, 1), and the positive evidence in each cell: (N, h, w), of any scale."""
        features = inputs
        for name, layer in self.gate.named_children():
            if name == "avgpool":
                break
            features = layer(features)
        average, last = self.gate.get_submodule("avgpool"), self.gate.get_submodule("fc")
        weights = last.get_parameter("weight")[0, :, None, None]
        return last(average(features).flatten(1)), (features * weights).sum(1).relu()
