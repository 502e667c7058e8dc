"""A model as ONNX, for runtimes other than PyTorch: float32, any batch, logits out, checked against torch.

What turns a file into the network's input, and logits into a mask, is not in the graph: `lgg.preprocess`, and
the temperature and thresholds, which stand in the file's metadata under `config`, stay with the caller.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from lgg.errors import WeightsError
from lgg.files import write_atomically
from lgg.weights import REPOSITORY_WEIGHTS, available, load_model

#: Understood by ONNX Runtime since 1.14 and by every converter in use.
OPSET = 18
INPUT, OUTPUT = "slices", "logits"
#: Largest difference of a logit that float32 in another order of summation explains.
TOLERANCE = 1e-4
#: Sizes of the batches that are compared; the graph is traced with another.
BATCHES = (1, 3)


def convert(
    models: tuple[str, ...] = (), weights: Path = REPOSITORY_WEIGHTS, out: Path = Path("onnx")
) -> None:
    """Write models as ONNX, OUT/<model>.onnx, and check that they still say the same.

    Args:
        models: Which models; by default all in the folder of weights.
        weights: Folder of weights.
        out: Folder for one file a model.
    """
    for name in models or available(weights):
        path = out / f"{name}.onnx"
        largest = export_onnx(weights / name, path)
        megabytes = path.stat().st_size / 1e6
        print(f"{path.name}: {megabytes:.1f} MB, logits within {largest:.1e} of torch's under ONNX Runtime")


def export_onnx(folder: Path, path: Path) -> float:
    """Write a model's folder of weights as one ONNX file; nothing is written if it does not agree.

    Input `slices`: (batch, 3, size, size) float32, as `lgg.preprocess.Prepared.network_input` makes it.
    Output `logits`: (batch, 1) of the gate, (batch, 1, size, size) of a segmenter.

    Returns:
        The largest difference from torch among all logits that were compared.

    Raises:
        WeightsError: the weights cannot be loaded, or ONNX Runtime finds other logits than torch.
    """
    model, config = load_model(folder)
    model = model.to(memory_format=torch.contiguous_format)
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 3, config.input_size, config.input_size),),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1024)},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # it is without dynamo only
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # they hold tracebacks with the paths of this machine
    program.model.metadata_props["config"] = json.dumps(asdict(config))
    largest = float("nan")

    def write(partial: Path) -> None:
        nonlocal largest
        program.save(partial)
        largest = difference(partial, model, config.input_size)
        if not largest <= TOLERANCE:
            raise WeightsError(
                f"ONNX Runtime and torch differ by {largest:.1e} on '{config.architecture}', more than "
                f"{TOLERANCE:g}. Export it with the torch that it was trained with."
            )

    write_atomically(path, write)
    return largest


@torch.inference_mode()
def difference(path: Path, model: torch.nn.Module, size: int) -> float:
    """The largest difference between a graph's logits and a network's, on noise of a z-score's range."""
    import onnxruntime  # imported here: only this check needs it

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for count in BATCHES:
        slices = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))
        (logits,) = session.run([OUTPUT], {INPUT: slices.numpy()})
        largest = max(largest, float(np.abs(logits - model(slices).numpy()).max()))
    return largest
