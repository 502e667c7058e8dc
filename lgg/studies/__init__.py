"""Examines many studies, one after the other, and keeps what it found: a folder each, whole or not at all.

The next study is read while the networks examine this one. What is finished by the same weights and settings
is left as it is, so a run that was stopped, or has new studies, goes on where it was.
"""

import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lgg.cascade import DEFAULT_ARCHITECTURE, Cascade
from lgg.errors import DiskError, LggError, SeriesError, SliceError
from lgg.export.dicom_seg import read_patient
from lgg.export.folder import ALWAYS, STATISTICS, Format, write_files, write_statistics
from lgg.export.statistics import Provenance, csv_text, provenance_of, rounded, statistics
from lgg.files import write_text
from lgg.io.archive import unpack
from lgg.io.dicom_header import read_header
from lgg.io.limits import guarded
from lgg.io.study import read_study
from lgg.postprocess import Gating
from lgg.studies import bids
from lgg.studies.find import Study, digest, distinct_folder
from lgg.types import Series, SeriesResult

TABLE, FAILED_TABLE = "statistics.csv", "failures.csv"
#: A file for each study that could not be examined, in a folder of its own.
FAILURES = "failures"
#: Seconds after which a folder that is being written is taken for one that a killed run left.
STALE = 3600
PARTIAL = ".partial"
#: Where folders of results lie: plain ones, and those of BIDS without and with sessions.
DEPTHS = ("*", "sub-*/anat", "sub-*/ses-*/anat")
COLUMNS = (
    *("study", "volume_ml", "voxels", "slices", "slices_with_tumour", "components"),
    *("largest_ml", "largest_diameter_mm", "gate_maximum", "sequences", "warnings", "notes"),
    *("model", "gate_sha256", "segmenter_sha256", "gating", "engine", "seconds"),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How studies are examined, and what is written of each.

    Attributes:
        model: the segmenter's architecture.
        gating: what the gate may veto.
        formats: beside mask, preview and statistics.
        register: whether T1 volumes are aligned with FLAIR by what is seen in them.
        bids: whether results are laid out as BIDS derivatives.
    """

    model: str = DEFAULT_ARCHITECTURE
    gating: Gating = "hard"
    formats: tuple[Format, ...] = ()
    register: bool = False
    bids: bool = False

    @property
    def products(self) -> list[str]:
        """What is written on request."""
        return sorted(set(self.formats) - set(ALWAYS))


@dataclass(frozen=True)
class Outcome:
    """What became of a study: `statistics` where it is finished, `reason` where it failed.

    Attributes:
        folder: of its results; None where it failed.
        skipped: whether it was finished before.
    """

    study: Study
    statistics: dict[str, Any] | None = None
    folder: Path | None = None
    reason: str = ""
    skipped: bool = False


class Examiner:
    """Examines studies with one cascade and writes a folder of results for each."""

    def __init__(self, cascade: Cascade, out: Path, settings: Settings) -> None:
        """`out`: the folder of all results."""
        self.cascade, self.out, self.settings = cascade, out, settings

    def run(self, studies: Sequence[Study], overwrite: bool = False) -> Iterator[Outcome]:
        """Examine studies in their order; one that fails is told of, and the next one follows.

        Args:
            overwrite: whether to examine again what is finished.

        Raises:
            DiskError: results cannot be written; nor could those of the studies that follow.
        """
        remove_stale(self.out)
        todo = []
        for study in studies:
            finished = None if overwrite else find_finished(self.out, study, self.settings, self.provenance)
            if finished is None:
                todo.append(study)
            else:
                yield finished
        with ThreadPoolExecutor(1, "reader") as reader:
            # One study ahead and no more: a series takes up to 800 MB.
            ahead = reader.submit(self.read, todo[0]) if todo else None
            for number, study in enumerate(todo, start=1):
                assert ahead is not None
                reading, ahead = ahead, None
                reading.exception()  # waits; what it raises is the outcome of this study
                if number < len(todo):
                    ahead = reader.submit(self.read, todo[number])
                yield self.attempt(study, reading.result)
                del reading  # its series would stay in memory beside the next two

    def attempt(self, study: Study, read: Callable[[], tuple[Series, float]]) -> Outcome:
        """Examine a study; whatever is wrong with it becomes the reason of its failure.

        Raises:
            DiskError: results cannot be written.
        """
        try:
            outcome = self.examine(study, *read())
        except DiskError:
            raise
        except LggError as error:
            return note_failure(self.out, study, str(error))
        except Exception as error:  # a bug, or no memory: the other studies are done all the same
            log.debug("%s", study.name, exc_info=True)
            return note_failure(
                self.out, study, f"an unexpected {type(error).__name__}. Please report it as a bug."
            )
        _failure_file(self.out, study).unlink(missing_ok=True)
        return outcome

    def read(self, study: Study) -> tuple[Series, float]:
        """A study's series, and the seconds that reading took."""
        clock = time.perf_counter()
        series = read_study(study.paths, register=self.settings.register, **study.choices)
        return series, time.perf_counter() - clock

    def examine(self, study: Study, series: Series, reading: float) -> Outcome:
        """Run the networks and write the study's folder.

        Args:
            reading: seconds that reading took.

        Raises:
            DiskError: the folder cannot be written.
        """
        result = self.cascade.predict(series, self.settings.gating)
        clock = time.perf_counter()
        folder = free_folder(self.out, study, examination_of(series))
        study = replace(study, folder=folder.relative_to(self.out).as_posix())  # what its files are called by
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.out, prefix=".", suffix=PARTIAL) as partial:
                numbers = self._write(study, result, Path(partial, "results"), reading, clock)
                folder.parent.mkdir(parents=True, exist_ok=True)
                if folder.exists():  # earlier results
                    folder.rename(Path(partial, "before"))
                Path(partial, "results").rename(folder)
        except OSError as error:
            raise DiskError(f"{folder.name} cannot be written ({error.strerror or error}).") from error
        return Outcome(study, numbers, folder)

    @cached_property
    def provenance(self) -> Provenance:
        """By what all studies are examined."""
        return provenance_of(self.cascade, self.settings.gating)

    def _write(
        self, study: Study, result: SeriesResult, folder: Path, reading: float, clock: float
    ) -> dict[str, Any]:
        """Write a study's files into a folder of their own, statistics last; they are returned."""
        folder.mkdir()
        wanted = "dicom-seg" in self.settings.formats and bool(result.series.dicom)
        written, notes = write_files(
            result,
            folder,
            self.settings.formats,
            self.provenance,
            patient=patient_of(study, result.series.dicom[0].study) if wanted else None,
        )
        if self.settings.bids:
            written = bids.rename(folder, written, study.name, self.provenance)
        numbers = {"study": study.name, **statistics(result, self.provenance)}
        seconds, times = {"reading": reading}, [prediction.milliseconds for prediction in result.predictions]
        for stage in ("preprocess", "gate", "segment"):
            seconds[stage] = sum(stages.get(stage, 0) for stages in times) / 1000
        seconds["writing"] = time.perf_counter() - clock
        engine = self.cascade.engine
        numbers |= {
            "notes": [*numbers["notes"], *notes],
            "engine": {"name": engine.name, "precision": engine.precision, "device": self.cascade.device},
            "seconds": {stage: rounded(value, 3) for stage, value in seconds.items()},
            "settings": {"register": self.settings.register, "products": self.settings.products},
            "key": study.key,
            "examination": examination_of(result.series),
            "input": study.fingerprint(),
            "files": {name: (folder / name).stat().st_size for name in written},
        }
        name = bids.NAMES[STATISTICS].format(study.name) if self.settings.bids else STATISTICS
        write_statistics(folder, numbers, name)
        return numbers


def note_failure(out: Path, study: Study, reason: str) -> Outcome:
    """Keep the reason why a study failed; its outcome.

    Raises:
        DiskError: it cannot be written.
    """
    text = json.dumps({"study": study.name, "reason": reason}, ensure_ascii=False)
    write_text(_failure_file(out, study), f"{text}\n")
    return Outcome(study, reason=reason)


def find_finished(out: Path, study: Study, settings: Settings, provenance: Provenance) -> Outcome | None:
    """The outcome of a study that was finished before: the same files, weights and settings, all that is
    asked for is there, and nothing of it was cut short."""
    try:
        now = study.fingerprint()
    except SeriesError:
        return None  # examining it tells the same
    wanted = (study.key, now, asdict(provenance), settings.register)
    for folder in result_folders(out, study):
        numbers = load_statistics(folder) or {}
        with suppress(LookupError, OSError):  # none, of an older version, or a file is gone
            done = numbers["settings"]
            same = (numbers["key"], numbers["input"], numbers["made_by"], done["register"]) == wanted
            whole = all((folder / name).stat().st_size == size for name, size in numbers["files"].items())
            if same and whole and set(settings.products) <= set(done["products"]):
                return Outcome(study, numbers, folder, skipped=True)
    return None


def result_folders(out: Path, study: Study) -> list[Path]:
    """Where a study's results may lie: under its name, or where that is taken under one of its own."""
    return [out / study.folder, out / distinct_folder(study)]


def examination_of(series: Series) -> str:
    """A hash of a DICOM series' StudyInstanceUID, as a folder may hold several examinations; else ""."""
    return digest([series.dicom[0].study]) if series.dicom else ""


def free_folder(out: Path, study: Study, examination: str) -> Path:
    """Where a study's results go: a folder that is not there yet, or holds that very examination's.

    Raises:
        SeriesError: another study's results, or other files, are there.
    """
    for folder in result_folders(out, study):
        numbers = load_statistics(folder) or {}
        kept = numbers.get("key"), numbers.get("examination", examination)
        if not folder.exists() or kept == (study.key, examination):
            return folder
    raise SeriesError(f"There is something else in {study.folder} of the results: choose another folder.")


def load_statistics(folder: Path) -> dict[str, Any] | None:
    """The statistics in a folder of results; None where there are none, or they are not ours."""
    try:
        (path,) = [path for path in folder.glob(f"*{STATISTICS}") if not path.name.startswith(".")]
        numbers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return numbers if isinstance(numbers, dict) and "key" in numbers else None


def patient_of(study: Study, examination: str) -> dict[str, str]:
    """Patient and study as the first DICOM file of an examination states them: keyword → value.

    Args:
        examination: its StudyInstanceUID; beside it, a folder may hold another one.
    """
    for path in study.files():
        for file in unpack([path]):
            with suppress(SliceError):  # no DICOM file, or one without pixels
                if guarded(read_header, file.whole()).study == examination:
                    return read_patient(file.whole())
    return {}


def collect(out: Path) -> tuple[int, int]:
    """Write `statistics.csv`, and `failures.csv` if any study failed, from the studies' own files.

    Several runs may do so at once: the last one writes what all of them found.

    Returns:
        How many studies are finished, and how many failed.

    Raises:
        DiskError: they cannot be written.
    """
    found = {path.parent for depth in DEPTHS for path in out.glob(f"{depth}/*{STATISTICS}")}
    folders = sorted(folder for folder in found if f"{os.sep}." not in f"{os.sep}{folder.relative_to(out)}")
    rows = []
    for folder in folders:
        if (numbers := load_statistics(folder)) is not None:
            with suppress(LookupError):  # of an older version
                rows.append(row_of(numbers))
    write_text(out / TABLE, csv_text(COLUMNS, ([row[name] for name in COLUMNS] for row in rows)))
    reasons = sorted(out.glob(f"{FAILURES}/*.json"))
    failures = [json.loads(path.read_text(encoding="utf-8")) for path in reasons]
    if failures or (out / FAILED_TABLE).exists():
        told = ((row["study"], row["reason"]) for row in failures)
        write_text(out / FAILED_TABLE, csv_text(("study", "reason"), told))
    return len(rows), len(failures)


def row_of(numbers: dict[str, Any]) -> dict[str, Any]:
    """A study's row of `statistics.csv`."""
    made_by, largest = numbers["made_by"], (numbers["components"] or [{}])[0]
    found = [name for name, sequence in numbers["sequences"].items() if sequence["found"]]
    return {
        **{name: numbers[name] for name in ("study", "volume_ml", "voxels", "slices")},
        "slices_with_tumour": len(numbers["slices_with_tumour"]),
        "components": len(numbers["components"]),
        "largest_ml": largest.get("volume_ml"),
        "largest_diameter_mm": largest.get("largest_diameter_mm"),
        "gate_maximum": numbers["gate"]["maximum"],
        "sequences": ", ".join(found),
        "warnings": " ".join(numbers["warnings"]),
        "notes": " ".join(numbers["notes"]),
        "model": made_by["architecture"],
        "gate_sha256": made_by["gate_weights"],
        "segmenter_sha256": made_by["segmenter_weights"],
        "gating": made_by["gating"],
        "engine": " ".join(numbers["engine"].values()),
        "seconds": rounded(sum(numbers["seconds"].values()), 3),
    }


def remove_stale(out: Path) -> None:
    """Remove what a killed run left half-written; what another run may still be writing stays."""
    for path in out.glob(f".*{PARTIAL}"):
        with suppress(OSError):  # another run was faster
            if time.time() - path.stat().st_mtime > STALE:
                shutil.rmtree(path, ignore_errors=True)


def _failure_file(out: Path, study: Study) -> Path:
    return out / FAILURES / f"{study.name}-{study.key[:8]}.json"
