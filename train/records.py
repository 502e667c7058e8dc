"""JSON files that hold a list of results, a line each: a change of one of them changes one line."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from lgg.errors import DataError
from lgg.files import write_text

Record = TypeVar("Record")


def load_records(path: Path, kind: type[Record], what: str) -> list[Record]:
    """The records in a file; none where there is no file.

    Args:
        kind: their dataclass.
        what: what they are called, in the plural.

    Raises:
        DataError: the file is not one of ours.
    """
    if not path.exists():
        return []
    try:
        return [kind(**one) for one in json.loads(path.read_text())]
    except (ValueError, TypeError):
        raise DataError(f"{path.name} is not a file of {what} of this version. Remove it.") from None


def save_records(path: Path, records: Sequence[Any]) -> None:
    """Write dataclasses, a line each."""
    lines = ",\n ".join(json.dumps(asdict(one)) for one in records)
    write_text(path, f"[\n {lines}\n]\n")
