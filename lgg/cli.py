"""Outline low-grade gliomas in brain MRI studies. Research only, not a medical device.

The usual command: `lgg segment PATIENT -o RESULTS`, PATIENT being a folder of DICOM files or of the NIfTI
volumes FLAIR, T1 and T1 with contrast agent. Exit codes: 0, done; 1, something failed, and it says why;
2, the command was not understood.
"""

# What a command needs is imported where it runs: `--help` should not wait seconds for torch.

import argparse
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

from lgg.errors import LggError, SeriesError, WeightsError

if TYPE_CHECKING:
    from lgg.cascade import Cascade
    from lgg.export.folder import Format
    from lgg.studies import Outcome
    from lgg.studies.find import Study

log = logging.getLogger(__name__)
Model = Literal["unet-lite0", "unet", "unet-mini", "unet-resnext50"]
FAILED, WRONG_USE, INTERRUPTED = 1, 2, 128 + 2


class UsageError(LggError):
    """The command cannot mean anything; exit code 2."""


@dataclass(frozen=True)
class Segment:
    """Outline gliomas in one study, in several, or in all that a folder holds.

    Of each study, RESULTS gets a folder with the mask as NIfTI on the FLAIR's own grid (mask.nii.gz), a
    picture of the slices with the outline (preview.png) and the numbers (statistics.json). At the end
    statistics.csv has a row for each study, and failures.csv the reasons of those that failed.
    Results go to standard output, a line for each study; messages and progress to standard error.
    """

    out: Annotated[Path, arg(aliases=["-o"], metavar="RESULTS")]
    """The folder of results; it is made if it is not there."""
    study: Positional[Annotated[tuple[Path, ...], arg(metavar="[STUDY ...]")]] = ()
    """One study each: a folder of one patient's DICOM files or volumes, a ZIP archive, or a FLAIR file."""
    studies: Annotated[Path | None, arg(metavar="DIR")] = None
    """Instead of STUDY: a folder of many. A folder each, archives or volumes, loose DICOM files (parted by
    StudyInstanceUID), or a BIDS data set (its FLAIR, T1w and ce-…_T1w)."""
    flair: Annotated[str | None, arg(metavar="FILE|NUMBER")] = None
    """Which file, or which number in the list that an ambiguous study gives, is FLAIR."""
    pre: Annotated[str | None, arg(metavar="FILE|NUMBER")] = None
    """The same for T1 before contrast agent."""
    post: Annotated[str | None, arg(metavar="FILE|NUMBER")] = None
    """The same for T1 after contrast agent."""
    model: Model = "unet-lite0"
    """Which network outlines; `lgg info` lists those that have weights here."""
    gate: Literal["hard", "soft", "none"] = "hard"
    """What the gate may veto: slices it does not pass (hard), those it is sure about (soft), nothing."""
    format: tuple[Literal["nifti", "png", "dicom-seg", "mesh"], ...] = ("nifti", "png")
    """What is written; nifti and png always are. dicom-seg repeats patient and study of the images."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What the networks run on; auto takes the best there is."""
    register: bool = False
    """Align T1 with FLAIR by what is seen in them, for patients who moved; needs the extra `register`."""
    probability: bool = False
    """Write the segmenter's probability of tumour as a volume too."""
    overwrite: bool = False
    """Examine again what the same weights and settings have finished already."""
    as_json: Annotated[bool, arg(name="json")] = False
    """Print each study's statistics as a line of JSON, instead of a few words."""
    bids: bool = False
    """Lay results out as BIDS derivatives."""
    ray: Annotated[str | None, arg(metavar="local|ADDRESS")] = None
    """Spread studies over a Ray cluster, or this machine's cores (local); needs the extra `cluster`."""
    gpus: float = 0.0
    """With --ray: the share of a GPU that each worker takes, 0.25 for four workers on one."""
    shard: Annotated[str | None, arg(metavar="I/N")] = None
    """Examine one of N parts of the studies, 1/16 to 16/16: for the tasks of an array job."""


def segment(job: Segment) -> int:
    """Run `lgg segment`; the exit code, as of every command."""
    from lgg.studies import Examiner, Settings, collect
    from lgg.studies.bids import describe_dataset

    formats: tuple[Format, ...] = (*job.format, "probability") if job.probability else job.format
    settings = Settings(job.model, job.gate, formats, job.register, job.bids)
    studies = _studies(job)
    if job.bids:
        describe_dataset(job.out, job.model, _version())
    if job.ray:
        from lgg.studies import cluster

        device = None if job.device == "auto" else job.device
        outcomes = cluster.run(studies, job.out, settings, job.ray, device, job.gpus, job.overwrite)
    else:
        outcomes = Examiner(_cascade(job), job.out, settings).run(studies, job.overwrite)
    failed = sum(not _told(outcome, job.as_json) for outcome in _with_progress(outcomes, len(studies)))
    finished, _ = collect(job.out)
    if len(studies) > 1:
        log.info("%d of %d studies failed. %s: %d studies.", failed, len(studies), "statistics.csv", finished)
    return FAILED if failed else 0


def make_statistics(out: Positional[Annotated[Path, arg(metavar="RESULTS")]]) -> int:
    """Make statistics.csv and failures.csv anew from the studies' own files, after several parts have run.

    Args:
        out: The folder of results.
    """
    from lgg.studies import TABLE, collect

    if not out.is_dir():
        raise UsageError(f"There is no folder {out.name}.")
    finished, failed = collect(out)
    print(f"{out / TABLE}\t{finished} finished\t{failed} failed")
    return FAILED if failed else 0


def page() -> int:
    """Open the page in this machine's browser's reach: http://127.0.0.1:7860. Needs the extra `app`."""
    try:
        from lgg.app import open_page
    except ModuleNotFoundError as error:
        raise LggError(
            f'The page needs {error.name}, which is not installed: pip install "lgg-segmentation[app]".'
        ) from None
    open_page()
    return 0


def info(as_json: Annotated[bool, arg(name="json")] = False) -> int:
    """Tell versions, weights, and what runs the networks here.

    Args:
        as_json: As JSON, for programs and for reports of bugs.
    """
    facts = _facts()
    if as_json:
        print(json.dumps(facts, indent=1))
        return 0
    models = facts.pop("models", {})
    for name, value in facts.items():
        print(f"{name}: {value}")
    for name, model in models.items():
        print(f"  {name}: {model['parameters']:,} parameters, of {model['date']}, sha256 {model['sha256']}")
    return 0


def download(
    weights: Annotated[str | None, arg(metavar="USER/NAME")] = None,
    revision: str | None = None,
    model: tuple[Model, ...] = ("unet-lite0",),
) -> int:
    """Have published weights on this disk, for machines that are without a network later.

    Args:
        weights: A repository on the Hub; by default that of $LGG_WEIGHTS, else the one this version was
            made for.
        revision: A commit, tag or branch of it; by default the pinned commit.
        model: Which networks; the gate always comes along.
    """
    from lgg.models import GATE
    from lgg.weights.hub import VARIABLE, find_address, load_pin, obtain

    pin = load_pin()
    weights = weights or os.environ.get(VARIABLE) or (pin.repo if pin else None)
    if weights is None:
        raise WeightsError("No weights are published yet: name a repository on the Hub, as user/name.")
    source = obtain(find_address(weights, revision), (GATE, *model))
    print(f"{source.name}\t{source.revision or 'a folder'}\t{source.folder}")
    return 0


#: Command → what takes its options, and what it does.
COMMANDS: dict[str, tuple[Callable[..., Any], str]] = {
    "segment": (Segment, "outline gliomas in studies: masks, pictures, numbers"),
    "statistics": (make_statistics, "make the table of all studies anew"),
    "page": (page, "open the page in a browser"),
    "info": (info, "versions, weights, and what runs the networks"),
    "download": (download, "have published weights on this disk"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end with its exit code; our own errors are one line, not a traceback."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("lgg").setLevel(logging.INFO)  # the libraries' own chatter is nobody's business
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if words[0] not in COMMANDS:
        epilog = "`lgg COMMAND --help` says what a command can do; docs/scale.md tells of many studies."
        listed = {name: text for name, (_, text) in COMMANDS.items()}
        first_page("lgg", __doc__, epilog, listed).parse_args(words[:1])
        return
    run, _ = COMMANDS[words[0]]
    try:
        done = tyro.cli(run, prog=f"lgg {words[0]}", args=words[1:], config=(tyro.conf.FlagCreatePairsOff,))
        sys.exit(segment(done) if isinstance(done, Segment) else done)
    except LggError as error:
        print(error, file=sys.stderr)
        sys.exit(WRONG_USE if isinstance(error, UsageError) else FAILED)
    except KeyboardInterrupt:
        print("Stopped. What is finished stays; the same command goes on.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def first_page(
    name: str, description: str | None, epilog: str, commands: Mapping[str, str]
) -> argparse.ArgumentParser:
    """The list of commands, each with what it does; each explains its own options."""
    parser = argparse.ArgumentParser(
        name,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    listed = parser.add_subparsers(metavar="COMMAND", required=True)
    for command, words in commands.items():
        listed.add_parser(command, help=words, add_help=False)
    return parser


def _studies(job: Segment) -> list["Study"]:
    """The studies that are meant, or the part of them.

    Raises:
        UsageError: none are, or not together.
    """
    from lgg.studies.find import ROLES, find_studies, named_studies, shard

    choices = {role: choice for role in ROLES if (choice := getattr(job, role))}
    if job.studies and (job.study or choices):
        raise UsageError("--studies stands alone: it takes neither STUDY nor --flair, --pre, --post.")
    try:
        if job.studies:
            studies = find_studies(job.studies, job.bids, job.out)
        else:
            studies = named_studies(job.study, job.bids, **choices)
        if not studies:
            raise UsageError("There are no studies in it: expected are a folder each, DICOM files, or BIDS.")
        return shard(studies, job.shard) if job.shard else studies
    except SeriesError as error:
        raise UsageError(str(error)) from None


def _cascade(job: Segment) -> "Cascade":
    from lgg.cascade import Cascade

    if job.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageError("There is no CUDA device here. Leave --device out, or say --device cpu.")
    return Cascade.from_pretrained(None, job.model, None if job.device == "auto" else job.device)


def _with_progress(outcomes: Iterable["Outcome"], count: int) -> Iterable["Outcome"]:
    """The outcomes, with a bar on a terminal, and lines with the time that is left in a log."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(outcomes, total=count, unit="study", file=sys.stderr)
        return
    began, skipped = time.monotonic(), 0
    for number, outcome in enumerate(outcomes, start=1):
        skipped += outcome.skipped
        yield outcome
        if count > 1 and not outcome.skipped:
            left = (time.monotonic() - began) / (number - skipped) * (count - number)
            log.info("%d of %d, about %d min left", number, count, round(left / 60))


def _told(outcome: "Outcome", as_json: bool) -> bool:
    """Tell an outcome; whether it is a success."""
    if outcome.statistics is None or outcome.folder is None:
        log.error("%s: %s", outcome.study.name, outcome.reason)
        return False
    numbers = outcome.statistics
    if as_json:
        print(json.dumps(numbers, ensure_ascii=False), flush=True)
        return True
    volume = "volume unknown" if numbers["volume_ml"] is None else f"{numbers['volume_ml']:.2f} ml"
    slices = f"{len(numbers['slices_with_tumour'])} of {numbers['slices']} slices"
    print(outcome.study.name, volume, slices, outcome.folder, sep="\t", flush=True)
    for words in (*numbers["warnings"], *numbers["notes"]):
        log.info("%s: %s", outcome.study.name, words)
    return True


def _facts() -> dict[str, Any]:
    """What `lgg info` tells."""
    from lgg.engine import best_device, cache_folder, choose_engine, threads
    from lgg.weights import available, load_config
    from lgg.weights.hub import find_address

    device = best_device()
    facts: dict[str, Any] = {
        "lgg": _version(),
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "device": device,
        "engine": choose_engine(device),
        "cores": threads(),
        "converted networks": str(cache_folder()),
    }
    try:
        address = find_address()
    except WeightsError as error:
        return facts | {"weights": str(error)}
    if address.folder is None:
        return facts | {"weights": f"{address.repo} at revision {address.revision}"}
    configs = {name: load_config(address.folder / name) for name in available(address.folder)}
    models = {
        name: {"sha256": config.sha256, "date": config.date, "parameters": config.parameters}
        for name, config in configs.items()
    }
    return facts | {"weights": str(address.folder), "models": models}


def _version() -> str:
    try:
        return metadata.version("lgg-segmentation")
    except metadata.PackageNotFoundError:
        return "not installed"
