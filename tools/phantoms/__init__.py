"""Synthetic MRI slices: the anatomy of the ICBM 152 template, seen as a clinical scanner would see it.

The examples that ship in `lgg/examples/` are made here, because no patient's image may stand in the
repository. `brain` and `skull` make one person's `anatomy` from the template, `lesion` grows a glioma in
it, and `scanner` takes the three sequences; `cases` describes the six examples, and
`python -m tools.phantoms` writes them.

Needs nilearn and nibabel (requirements-train.txt), and only when a phantom is made: importing this
package reads nothing.
"""

from tools.phantoms.anatomy import Head, Person, Template, load_template, make_head
from tools.phantoms.cases import CASES, Case, make_case
from tools.phantoms.lesion import Lesion
from tools.phantoms.scanner import scan

__all__ = [
    "CASES",
    "Case",
    "Head",
    "Lesion",
    "Person",
    "Template",
    "load_template",
    "make_case",
    "make_head",
    "scan",
]
