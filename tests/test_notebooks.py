"""Every notebook runs from top to bottom in a fresh kernel, and shows what it showed.

REGEN=1 puts what they show now into the files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
pytestmark = [
    pytest.mark.zoo,
    # the kernel's own packages warn of their own future
    pytest.mark.filterwarnings("default"),
]


def test_the_notebooks_are_there():
    names = {"quickstart.ipynb", "which_layer.ipynb", "profiling.ipynb"}
    assert names <= {path.name for path in NOTEBOOKS}


def words(text):
    """The words, without what differs from run to run: figures and versions."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", "".join(text))
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.S)
    text = re.sub(r"0x[0-9a-f]+|ipykernel_\d+/\d+|torch \d\S+|\d+\.\d+", " ", text)
    return set(re.findall(r"[^\W_]\S*", text))


def shown(cell):
    """What a cell shows, as kinds and words; of a picture that there is one."""
    found = []
    for output in cell.outputs:
        if output.output_type == "stream":
            found.append((output.name, words(output.text)))
        elif output.output_type == "error":
            found.append((output.ename, set()))
        else:
            for kind, data in sorted(output.data.items()):
                found.append((kind, set() if "image" in kind else words(data)))
    return found


def assert_alike(old, new):
    """The same kinds of output, and most of the words: the wording of an explanation
    may change without the notebooks, what it is about may not."""
    assert [kind for kind, _ in old] == [kind for kind, _ in new]
    for (_, before), (_, after) in zip(old, new, strict=True):
        assert len(before & after) >= 0.6 * len(before | after), before ^ after


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_shows_what_it_showed(path, tmp_path):
    before = nbformat.read(path, as_version=4)
    after = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        after,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # or what is printed comes in as many parts as by chance
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert after.metadata.kernelspec.name == "python3"
    if os.environ.get("REGEN"):
        after.metadata = before.metadata
        nbformat.write(after, path)
        return
    for old, new in zip(before.cells, after.cells, strict=True):
        if old.cell_type == "code":
            assert_alike(shown(old), shown(new))
