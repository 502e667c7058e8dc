"""Many studies on many machines, by Ray: a task each, in workers that load the cascade once.

Tasks, not Ray Data: there a worker that died ended the whole data set once its retries were used up, with
`max_errored_blocks=-1` too (Ray 2.60, measured). A task's retries are bounded and its death is its own.
"""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from lgg.cascade import Cascade
from lgg.errors import LggError
from lgg.studies import Examiner, Outcome, Settings, note_failure
from lgg.studies.find import Study

#: How often a study is tried again whose worker died; a second death is the study's own fault.
RETRIES = 1
#: Studies that wait or run, per core of the cluster: enough for no core to wait, few enough to keep.
AHEAD = 4
#: Told to the workers; their own environment is that of the machine they run on.
VARIABLES = ("LGG_WEIGHTS", "LGG_ENGINE", "LGG_CACHE", "PYTHONPATH")


def run(
    studies: Sequence[Study],
    out: Path,
    settings: Settings,
    address: str,
    device: str | None = None,
    gpus: float = 0.0,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """Examine studies on a cluster, in the order in which they are done.

    Args:
        out: the folder of results; like the studies', one that all machines see by the same name.
        address: `local` starts Ray on this machine; else that of a running one, or `auto`.
        device: where the networks run; by default the best that a worker has.
        gpus: the share of a GPU that a worker takes.

    Raises:
        LggError: Ray is not installed, or does not answer.
        DiskError: results cannot be written.
    """
    ray = _connected(address)
    examine = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_examine)
    waiting: Iterator[Study] = iter(studies)
    running: dict[Any, Study] = {}
    ahead = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    while True:
        for study in islice(waiting, ahead - len(running)):
            running[examine.remote(study, out.resolve(), settings, device, overwrite)] = study
        if not running:
            return
        (done,), _ = ray.wait(list(running), num_returns=1)
        study = running.pop(done)
        try:
            yield ray.get(done)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
            yield note_failure(out, study, f"its worker died {RETRIES + 1} times; no memory, perhaps.")


def _connected(address: str) -> Any:  # noqa: ANN401 (Ray is optional)
    """The module `ray`, connected to a cluster."""
    try:
        import ray
    except ModuleNotFoundError:
        raise LggError('Ray is not installed: pip install "lgg-segmentation[cluster]".') from None
    if not ray.is_initialized():
        told = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        try:
            ray.init(
                address=address,
                runtime_env={"env_vars": told},
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError):
            raise LggError(
                f"There is no Ray at {address}. Start it (`ray start --head`), or name it."
            ) from None
    return ray


def _examine(study: Study, out: Path, settings: Settings, device: str | None, overwrite: bool) -> Outcome:
    """Runs in a worker."""
    (outcome,) = _examiner(out, settings, device).run([study], overwrite)
    return outcome


@cache
def _examiner(out: Path, settings: Settings, device: str | None) -> Examiner:
    return Examiner(Cascade.from_pretrained(None, settings.model, device), out, settings)
