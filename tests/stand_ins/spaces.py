"""A stand-in for the `spaces` package on ZeroGPU, for machines without a GPU.

As the real one (0.51) does: at its import, the main process pretends to have CUDA. A tensor that is sent
there becomes a hollow one, and the real values are kept. A function under `@GPU` runs in a thread of a forked
process; there the pretence ends and the hollow tensors are filled; arguments and results go through a pipe.
Here the filled tensors stay on the CPU, and hollow ones hold NaN, so that computing outside `@GPU` shows.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

#: Hollow tensor → the values it stands for.
hollow = WeakTensorKeyDictionary()
forked = False


def _names_cuda(value: Any) -> bool:
    return isinstance(value, torch.device | str) and str(value).startswith("cuda")


class Pretence(TorchFunctionMode):
    """The main process: sending to CUDA makes tensors hollow."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func == torch._C._nn._parse_to:
            return func(*args, **kwargs)
        if func == torch.Tensor.data.__set__ and args[1] in hollow:
            hollow[args[0]] = hollow[args[1]]
        if func == torch.Tensor.device.__get__ and args[0] in hollow:
            return torch.device("cuda", 0)
        sent = any(map(_names_cuda, args[1:])) or _names_cuda(kwargs.get("device"))
        if func != torch.Tensor.to:
            return func(*args, **kwargs)
        args, kwargs = _on_cpu(args, kwargs)
        known = args[0] in hollow
        result = func(hollow.get(args[0], args[0]), *args[1:], **kwargs)
        if not (sent or known):
            return result
        shell = torch.full_like(result, float("nan") if result.is_floating_point() else 0)
        hollow[shell] = result.detach()  # may be the parameter itself, which is about to become hollow
        return shell


class Arrival(TorchFunctionMode):
    """The forked process, whose CUDA is the CPU here."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        args, kwargs = _on_cpu(args, kwargs or {})
        return func(*args, **kwargs)


def _on_cpu(args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    def swap(value):
        return torch.device("cpu") if _names_cuda(value) else value

    return tuple(map(swap, args)), {key: swap(value) for key, value in kwargs.items()}


_pretence = Pretence()
_pretence.__enter__()
_is_available = torch.cuda.is_available
torch.cuda.is_available = lambda: True


def GPU(task: Callable | None = None, *, duration: float | None = None) -> Callable:
    """The decorator, with and without arguments."""
    if task is None:
        return lambda function: GPU(function, duration=duration)

    @wraps(task)
    def handler(*args, **kwargs):
        if forked:
            return task(*args, **kwargs)
        here, there = multiprocessing.get_context("fork").Pipe()
        worker = multiprocessing.get_context("fork").Process(target=_work, args=(task, there), daemon=True)
        worker.start()
        here.send((args, kwargs))
        if not here.poll(60):
            worker.kill()
            raise RuntimeError("GPU task aborted")
        good, value = here.recv()
        worker.join()
        if not good:  # of an error only the name comes back
            raise RuntimeError(f"ZeroGPU worker error: {value}")
        return value

    return handler


def _work(task: Callable, there: Any) -> None:
    global forked
    forked = True
    args, kwargs = there.recv()
    _pretence.__exit__(None, None, None)
    torch.cuda.is_available = _is_available
    for shell, values in hollow.items():
        shell.data = values

    def run() -> tuple[bool, Any]:
        with Arrival():
            try:
                return True, task(*args, **kwargs)
            except Exception as error:
                return False, type(error).__name__

    with ThreadPoolExecutor() as pool:
        result = pool.submit(run).result()
    there.send(result)
