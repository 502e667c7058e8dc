"""All five networks, one after the other: U-Net Lite0 first, which teaches those without ImageNet's start."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from lgg.models import GATE
from train.accelerator import make_accelerator
from train.job import Job, choose_on, run_job
from train.track import tracking

log = logging.getLogger(__name__)
TEACHER = "unet-lite0"
#: The gate comes as early as it can: its veto is part of every segmenter's thresholds.
ORDER = (TEACHER, GATE, "unet", "unet-mini", "unet-resnext50")


def train_everything(
    job: Job, models: Sequence[str] = (), resume: bool = False, restart: bool = False, track: bool = False
) -> None:
    """Train them, each in a folder of its own within the run's.

    Args:
        job: the pattern of the jobs: recipe, changes, data, the run's folder, and where the weights go.
        models: only these; by default all.
        resume, restart: as for `train.job.run_job`.
        track: send each epoch's figures to trackio.

    Raises:
        DataError, WeightsError, Stopped: as `run_job`.
    """
    wanted = [name for name in ORDER if name in (models or ORDER)]
    target = job.target
    for name in wanted:
        # The published network had no teacher.
        taught = name != TEACHER and job.recipe != "reference" and (target / TEACHER).is_dir()
        teacher = target / TEACHER if taught else None
        one = replace(job, architecture=name, home=job.home / name, out=target, teacher=teacher)
        with tracking(f"{job.home.name}-{name}", one.shown, track) as watch:
            log.info("%s", run_job(one, resume, restart, watch))
        make_accelerator().wait_for_everyone()  # the next may learn from what the first process has written
    if {TEACHER, GATE} <= set(wanted) and make_accelerator().is_main_process:
        # Its thresholds were chosen before there was this gate.
        found = choose_on(TEACHER, job.patients, job.sides["validation"], target, target)
        log.info("%s behind the new gate: %s", TEACHER, found)
