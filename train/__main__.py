"""Train networks that outline gliomas in MRI slices, and measure them.

The usual order: `gate`, then `segment` (the gate's veto takes part in its thresholds), then `report`; or
`all`, which trains all five networks.
`python -m train COMMAND --help` says what a command can do; README's "Train your own" has examples.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any

import tyro

from lgg.errors import LggError
from train.learn import ablate, everything, folds, gate, segment, thresholds, trial
from train.measure import evaluate, remedies, report, speed
from train.stop import Stopped

#: What a shell reports of a program that SIGTERM ended.
TERMINATED = 128 + 15


def main() -> None:
    """Run a subcommand; our own errors end it with their message, not a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    commands: dict[str, Callable[..., Any]] = {
        "gate": gate,
        "segment": segment,
        "all": everything,
        "thresholds": thresholds,
        "evaluate": evaluate,
        "folds": folds,
        "ablate": ablate,
        "trial": trial,
        "remedies": remedies,
        "report": report,
        "speed": speed,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="python -m train", description=__doc__)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(TERMINATED)
    except LggError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
