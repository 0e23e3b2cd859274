"""A file is short, imports only from the layers above it, and heavy packages only when
needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

PACKAGE = Path(__file__).parents[1] / "shapetrace"

#: from the first to the last: each may import those before it, and its own files
LAYERS = """
    torch_internals errors records signatures source recording lineage diagnosis checks
    costs views
    comparison report trace summarize
    callbacks distributed cli ipython pytest_plugin __main__ __init__
""".split()

#: and within the checks: what all of them stand on first, then what they look at
CHECKS = """
    finding facts fixes
    broadcasting dimensions gradients masks modules reshaping results
    attention losses order training
""".split()

HEAVY = {"pandas", "tabulate", "matplotlib"}

FILES = sorted(PACKAGE.rglob("*.py"))


def layer(parts: tuple[str, ...]) -> str:
    """`("shapetrace", "views", "text")` is in the layer `views`."""
    return parts[1] if len(parts) > 1 else "__init__"


def module_of(path: Path) -> tuple[str, ...]:
    parts = ("shapetrace", *path.relative_to(PACKAGE).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(node: ast.AST, path: Path) -> Iterator[tuple[str, ...]]:
    """The dotted names that one statement imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield tuple(alias.name.split("."))
    elif isinstance(node, ast.ImportFrom):
        base: tuple[str, ...] = ()
        if node.level:
            package = ("shapetrace", *path.parent.relative_to(PACKAGE).parts)
            base = package[: len(package) - node.level + 1]
        base += tuple(node.module.split(".")) if node.module else ()
        if base == ("shapetrace",):  # `from shapetrace import views` names a layer
            for alias in node.names:
                known = alias.name in LAYERS
                yield (*base, alias.name) if known else base
        else:
            yield base


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when the file is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from at_import(node)


def upward(source: str, path: Path) -> list[str]:
    """The imports, lazy ones included, that reach a layer not above the file's own."""
    own = layer(module_of(path))
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in imported(node, path):
            if name[0] != "shapetrace" or layer(name) == own:
                continue
            if layer(name) not in LAYERS[: LAYERS.index(own)]:
                found.append(f"line {node.lineno}: {'.'.join(name)}")
    return found


def of_later_checks(source: str, path: Path) -> list[str]:
    """The imports of a check's file that reach a folder of checks not above its own."""
    own = CHECKS.index(path.parent.name)
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in imported(node, path):
            if name[1:2] != ("checks",) or name[2:3] == (path.parent.name,):
                continue
            if not set(name[2:3]) & set(CHECKS[:own]):
                found.append(f"line {node.lineno}: {'.'.join(name)}")
    return found


def heavy(source: str, path: Path) -> list[str]:
    return [
        f"line {node.lineno}: {'.'.join(name)}"
        for node in at_import(ast.parse(source))
        for name in imported(node, path)
        if name[0] in HEAVY
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_only_from_layers_above_it(path):
    assert layer(module_of(path)) in LAYERS, "give the new file its place in LAYERS"
    assert upward(path.read_text(), path) == []


@pytest.mark.parametrize("folder", CHECKS)
def test_a_check_imports_only_from_the_folders_above_its_own(folder):
    files = sorted((PACKAGE / "checks" / folder).glob("*.py"))
    found = {path.name: of_later_checks(path.read_text(), path) for path in files}
    assert len(files) > 1 and not any(found.values()), found


def test_checks_stand_in_folders_and_none_is_left_out():
    loose = {path.parent.name for path in (PACKAGE / "checks").rglob("*.py")}
    assert loose == {"checks", *CHECKS}
    assert [path.name for path in (PACKAGE / "checks").glob("*.py")] == ["__init__.py"]


def test_an_import_of_a_later_folder_of_checks_is_found():
    path = PACKAGE / "checks" / "masks" / "padding.py"
    assert of_later_checks("from shapetrace.checks.losses.classes import x", path)
    assert of_later_checks("from shapetrace.checks import masks", path)
    assert not of_later_checks("from shapetrace.checks.facts.steps import x", path)
    assert not of_later_checks("from shapetrace.checks.masks.masks import x", path)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_only_where_they_are_used(path):
    assert heavy(path.read_text(), path) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_is_read_at_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 400


def imported_files(path: Path, known: dict[tuple[str, ...], Path]) -> set[Path]:
    """The files that a file imports, lazily or not; not for its types alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            home = tuple(node.module.split("."))
            found |= {(*home, alias.name) for alias in node.names} | {home}
        elif isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
    # `from a.b import c` where c is a file of its own does not ask for more of a.b
    files = {known[name] for name in found if name in known}
    return {file for file in files if file.name != "__init__.py"} - {path}


def circle(edges: dict[Path, set[Path]]) -> list[Path]:
    """Some files that import each other in a circle; empty where none do."""
    left = dict(edges)
    while left:
        free = [file for file, needs in left.items() if not needs & set(left)]
        if not free:
            return sorted(left)
        for file in free:
            del left[file]
    return []


def test_no_files_import_each_other_in_a_circle():
    known = {module_of(path): path for path in FILES}
    assert circle({path: imported_files(path, known) for path in FILES}) == []


def test_a_circle_is_found_also_where_an_import_is_lazy(tmp_path):
    a, b, c = (tmp_path / f"{name}.py" for name in "abc")
    a.write_text("def f():\n    from here.b import g")
    b.write_text("from here import c")
    c.write_text("import here.a\nif TYPE_CHECKING:\n    import here.c")
    known = {("here", path.stem): path for path in (a, b, c)}
    assert circle({path: imported_files(path, known) for path in (a, b, c)})
    c.write_text("if TYPE_CHECKING:\n    import here.a")
    assert not circle({path: imported_files(path, known) for path in (a, b, c)})


@pytest.mark.parametrize(
    "line",
    [
        "import shapetrace.trace",
        "from shapetrace.trace import Trace",
        "from shapetrace import comparison",
        "from shapetrace import Trace",
        "from . import cli",
        "from .cli import main",
        "def f():\n    from shapetrace.views.text import table",
    ],
)
def test_an_upward_import_is_found_in_every_spelling(line):
    assert len(upward(line, PACKAGE / "errors.py")) == 1


def test_downward_imports_and_those_of_its_own_layer_are_allowed():
    lines = "from shapetrace.records import Source\nfrom .words import plural\n"
    assert upward(lines, PACKAGE / "views" / "text.py") == []


def test_a_heavy_import_is_found_at_the_top_and_allowed_in_a_function():
    path = PACKAGE / "views" / "frame.py"
    assert heavy("try:\n    import pandas as pd\nexcept ImportError: pass", path)
    assert heavy("class A:\n    from matplotlib import pyplot", path)
    assert not heavy("def f():\n    import pandas", path)


def test_importing_shapetrace_loads_no_heavy_package():
    code = (
        "import sys, torch; before = set(sys.modules); import shapetrace;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    run = [sys.executable, "-c", code]
    loaded = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "shapetrace" in loaded.split()
    assert HEAVY.isdisjoint(loaded.split())


def test_printing_a_trace_does_not_load_torchs_compiler():
    code = """
import sys, torch, shapetrace
with shapetrace.trace(torch.nn.Linear(4, 3)) as t:
    torch.nn.Linear(4, 3)(torch.ones(2, 4))
str(t), repr(t), t.to_csv("report.csv"), t.to_html("report.html")
print(sorted({"torch._dynamo", "sympy", "pandas"} & set(sys.modules)))
"""
    run = [sys.executable, "-c", code]
    with TemporaryDirectory() as folder:
        done = subprocess.run(run, cwd=folder, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_the_package_lists_what_it_offers_and_nothing_else():
    import shapetrace

    offered = [name for name in dir(shapetrace) if not name.startswith("_")]
    assert offered == sorted(shapetrace.__all__)
    assert {"compare", "Fix", "Step", "Source", "Broadcast"} <= set(offered)
    assert all(getattr(shapetrace, name) is not None for name in offered)
