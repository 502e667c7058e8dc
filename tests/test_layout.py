"""The house's order: who may import whom, and how large a folder and the whole may grow."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("lgg", "train", "tools")
FILES = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
FILES.append(Path("app.py"))

#: From the bottom to the top: a module imports what stands on lines above its own, and its own folder.
#: The longest name that fits a module says where it stands.
LAYERS = """
lgg.errors
lgg.files lgg.examples
lgg.types
lgg.preprocess lgg.metrics lgg.models
lgg.io
lgg.input_check lgg.postprocess lgg.visualize lgg.weights
lgg.engine
lgg.cascade
lgg.explain lgg.export
lgg.studies
lgg
lgg.app
lgg.cli
lgg.__main__
app
train.recipes train.hardware
train.data
train.evaluation
train.fit
train.evaluation.step_speed
train.evaluation.benchmark
train.pipeline
train.folds
train.ablation
train.report
train.publish
train train.__main__
tools
"""
LAYER = {name: number for number, line in enumerate(LAYERS.split("\n")) for name in line.split()}


def module_of(path: Path) -> str:
    """`lgg/io/__init__.py` → `lgg.io`."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """What a file imports, inside functions too: our modules, and other packages by their first name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else f"{node.module}" for name in whole}
    return {name if name in MODULES else name.split(".")[0] for name in names}


MODULES = {module_of(path) for path in FILES}
IMPORTS = {module_of(path): imports_of(path) - {module_of(path)} for path in FILES}


def place_of(module: str) -> str:
    """The longest name in `LAYERS` that the module is or lies under."""
    fitting = [name for name in LAYER if f"{module}.".startswith(f"{name}.")]
    return max(fitting, key=len)


def test_modules_import_only_from_the_layers_below() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others & MODULES
        if place_of(other) != place_of(module) and LAYER[place_of(other)] >= LAYER[place_of(module)]
    ]
    assert sum(map(len, IMPORTS.values())) > 300  # the imports were seen at all
    assert sorted(wrong) == []


def test_there_is_no_import_circle() -> None:
    # A package that imports its own parts is no circle.
    graph = {
        module: {other for other in others & MODULES if not f"{module}.".startswith(f"{other}.")}
        for module, others in IMPORTS.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)  # raises CycleError, naming it


def test_the_library_stands_without_the_rest() -> None:
    for module in sorted(name for name in MODULES if place_of(name).startswith("lgg")):
        assert not IMPORTS[module] & {"tests"}, module
        assert not any(name.split(".")[0] in {"train", "tools"} for name in IMPORTS[module] & MODULES), module


@pytest.mark.parametrize("package", ["gradio", "spaces"])
def test_gradio_is_imported_by_the_page_alone(package: str) -> None:
    users = {module for module, names in IMPORTS.items() if package in names}
    assert {module for module in users if not f"{module}.".startswith("lgg.app.")} == set()


def test_the_page_is_imported_by_what_opens_it_alone() -> None:
    """Importing it takes Gradio and seconds, which training and reports need not wait for."""
    page = {module for module in MODULES if f"{module}.".startswith("lgg.app.")}
    assert {module for module, names in IMPORTS.items() if names & page} - page == {"app", "lgg.cli"}


def test_no_folder_holds_more_than_fourteen_files() -> None:
    assert max(Counter(path.parent for path in FILES).values()) <= 14


def test_the_files_are_few() -> None:
    assert len(FILES) <= 86
