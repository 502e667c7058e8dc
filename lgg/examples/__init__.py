"""The example slices that a visitor can pick: the shipped phantoms, or a folder of one's own."""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from lgg.errors import DataError

log = logging.getLogger(__name__)
#: The list of a folder's examples, in display order.
INDEX = "examples.json"
#: The phantoms that ship with the package.
SHIPPED = Path(__file__).parent
#: Examples of whoever runs the page, such as real slices that must not be shared; git ignores the folder.
OWN = Path(os.environ.get("LGG_EXAMPLES") or Path(__file__).parents[2] / "examples")


@dataclass(frozen=True)
class Example:
    """An example slice.

    Attributes:
        name: a slug, unique in its folder; fit for a link.
        title: two or three words for a button.
        caption: one plain sentence that says what the slice shows and where it comes from.
        image: the slice's file, as a visitor would upload it.
        mask: the known tumour as a picture of the same size, 0 or 255; None where nobody knows it.
    """

    name: str
    title: str
    caption: str
    image: Path
    mask: Path | None


def load_examples(folder: Path | None = None) -> list[Example]:
    """The examples of a folder in display order, as its `examples.json` lists them.

    Args:
        folder: where to look; None: the phantoms that ship.

    Raises:
        DataError: the list is missing or damaged, or a file that it names is not there.
    """
    folder = SHIPPED if folder is None else folder
    try:
        entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"The examples folder holds no {INDEX}; `python -m tools.phantoms` makes one."
        ) from None
    except (OSError, ValueError):
        raise DataError(f"{INDEX} cannot be read; `python -m tools.phantoms` writes it anew.") from None
    if not isinstance(entries, list):
        raise DataError(f"{INDEX} must hold a list of examples.")
    examples = [_example(folder, entry, number) for number, entry in enumerate(entries, start=1)]
    if len({example.name for example in examples}) < len(examples):
        raise DataError(f"{INDEX} uses a name twice; each example needs its own.")
    return examples


def all_examples() -> list[Example]:
    """The shipped examples and then one's own, if there are any; a damaged folder costs only its own.

    One's own cannot take a shipped example's name, which links hold.
    """
    found: list[Example] = []
    for folder in (SHIPPED, OWN):
        if folder is OWN and not (folder / INDEX).is_file():
            continue
        try:
            names = {example.name for example in found}
            found += [example for example in load_examples(folder) if example.name not in names]
        except DataError as error:
            log.error("Examples are left out: %s", error)
    return found


def _example(folder: Path, entry: object, number: int) -> Example:
    """An entry of the list; its files lie beside it, and a name that leads elsewhere is refused."""
    fields = entry if isinstance(entry, dict) else {}
    name, title, caption, image = (fields.get(key) or "" for key in ("name", "title", "caption", "image"))
    if not all(isinstance(text, str) and text for text in (name, title, caption, image)):
        raise DataError(f"Example {number} in {INDEX} needs texts for name, title, caption and image.")
    mask = fields.get("mask")
    for file in (image,) if mask is None else (image, mask):
        if Path(str(file)).name != file or not (folder / file).is_file():
            raise DataError(f"Example {number} in {INDEX} names {file}, which does not lie beside the list.")
    return Example(name, title, caption, folder / image, None if mask is None else folder / mask)
