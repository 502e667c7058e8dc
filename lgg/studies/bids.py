"""Results as BIDS derivatives: what files are called, and what BIDS wants to be told of them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lgg.export.folder import MASK, PREVIEW, PROBABILITY, SEGMENTATION, STATISTICS, SURFACE
from lgg.export.statistics import NOTICE, Provenance
from lgg.files import write_text

VERSION = "1.10.0"
#: A result's file → its name, after subject and session.
NAMES = {
    MASK: "{}_label-lesion_desc-lgg_mask.nii.gz",
    PROBABILITY: "{}_label-lesion_desc-lgg_probseg.nii.gz",
    PREVIEW: "{}_desc-lgg_preview.png",
    SEGMENTATION: "{}_desc-lgg_seg.dcm",
    SURFACE: "{}_desc-lgg_surface.glb",
    STATISTICS: "{}_desc-lgg_statistics.json",
}
#: What the standard has no names for.
IGNORED = ("*_preview.png", "*_statistics.json", "*.dcm", "*.glb", "*.csv", "failures/")
VOLUME = ".nii.gz"


def describe_dataset(out: Path, model: str, version: str) -> None:
    """Write what makes a folder a BIDS derivative.

    Args:
        model: the segmenter's architecture.
        version: of this package.

    Raises:
        DiskError: it cannot be written.
    """
    made_by = {"Name": "lgg", "Version": version, "Description": f"A gate and the segmenter {model}."}
    text = {
        "Name": "Masks of low-grade gliomas",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [made_by],
    }
    write_text(out / "dataset_description.json", json.dumps(text, indent=1) + "\n")
    write_text(out / "README", f"Low-grade gliomas outlined in FLAIR, on its own grid. {NOTICE}.\n")
    write_text(out / ".bidsignore", "\n".join(IGNORED) + "\n")


def rename(folder: Path, files: Iterable[str], prefix: str, provenance: Provenance) -> list[str]:
    """Give files their names in BIDS, and each volume a description beside it.

    Args:
        prefix: subject and session, `sub-01_ses-1`.

    Returns:
        The names of all files then.
    """
    weights = f"{provenance.architecture} (weights sha256 {provenance.segmenter_weights})"
    names = []
    for file in files:
        name = NAMES[file].format(prefix)
        (folder / file).rename(folder / name)
        names.append(name)
        if name.endswith(VOLUME):
            text: dict[str, Any] = {"Description": f"By {weights}. {NOTICE}.", "SpatialReference": "orig"}
            text |= {"Type": "Lesion", "Manual": False} if file == MASK else {}
            names.append(f"{name.removesuffix(VOLUME)}.json")
            write_text(folder / names[-1], json.dumps(text, indent=1) + "\n")
    return names
