"""Data that a loader, or a library, hands out: whose line it is said to come from."""

import sys

import pytest
import torch
from failures import failure_of
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

import shapetrace
from shapetrace.diagnosis.consider import consider
from shapetrace.diagnosis.explain import mismatch_of
from shapetrace.lineage import Graph

DATA = TensorDataset(torch.randn(8, 6), torch.randn(8, 3))


class Samples(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, at):
        return torch.randn(6), torch.randn(3)


def test_the_target_of_a_loader_was_made_where_its_samples_were():
    model = nn.Linear(6, 5)

    def step():
        for x, y in DataLoader(Samples(), batch_size=4):
            F.mse_loss(model(x), y)

    found = failure_of(model, step)
    line = Samples.__getitem__.__code__.co_firstlineno + 1
    assert found.operands[1].origin == f"made by randn at test_loaded_data.py:{line}"
    assert "stack" not in str(found)


def test_the_first_dimension_of_a_sample_counts_no_samples():
    """The layer as wide as the target: for any batch, so it is no misuse."""

    model = nn.Linear(6, 5)

    def step():
        for x, y in DataLoader(Samples(), batch_size=4):
            F.mse_loss(model(x), y)

    fix = failure_of(model, step).fixes[0]
    assert (fix.line, fix.status) == ("model = nn.Linear(6, 3)", "verified")


def looped(loader):
    for batch in loader:
        return batch


def listed(loader):
    return [batch for batch in loader][0]


def taken(loader):
    return next(iter(loader))


@pytest.mark.parametrize(
    "take, code", [(looped, "loader"), (listed, "loader"), (taken, "iter(loader)")]
)
def test_samples_from_before_the_trace_come_from_the_loader(take, code):
    model = nn.Linear(6, 5)
    loader = DataLoader(DATA, batch_size=4)

    def step():
        x, y = take(loader)
        F.mse_loss(model(x), y)

    origin = failure_of(model, step).operands[1].origin
    line = take.__code__.co_firstlineno + 1
    assert origin == f"from `{code}` at test_loaded_data.py:{line}"


LIBRARY = """
import torch
from torch import nn

class Scale(nn.Module):
    def forward(self, x):
        return x.clone().mul(2).div(3)

def batches(samples):
    yield torch.stack(samples).to(torch.int64)

def compared(logits, labels):
    return nn.functional.cross_entropy(logits, labels.view(-1))

def prepared(x):
    return x.to(torch.float32).mul(2)

def resized(x, size):
    return nn.functional.interpolate(x, size=size).clamp(0, 1)

class Folded(nn.Module):
    def forward(self, x):
        return x.reshape(x.shape[0], 2, -1)
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A package as it stands in an environment."""
    home = tmp_path / "lib" / "site-packages" / "shelf"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(home.parent))
    yield __import__("shelf")
    del sys.modules["shelf"]


def test_what_a_library_made_of_the_users_data_is_the_users(library):
    model = nn.Linear(6, 5)

    def step():
        y = torch.randn(4, 3)
        F.mse_loss(model(torch.randn(4, 6)), library.prepared(y))

    origin = failure_of(model, step).operands[1].origin
    line = step.__code__.co_firstlineno + 1
    assert origin == f"made by randn at test_loaded_data.py:{line}"


def test_whose_shape_a_library_kept_is_not_the_librarys(library):
    model, y = nn.Linear(6, 5), torch.randn(4, 3)
    found = failure_of(
        model, lambda: F.mse_loss(model(torch.randn(4, 6)), library.prepared(y))
    )
    assert found.operands[1].origin == "that came in from outside the trace"


def test_the_steps_inside_a_transform_are_folded(library):
    """A transform is a module; its steps before the user's lines are its library's."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(5, 2))
    scale, x = library.Scale(), torch.randn(4, 3, 2)

    def step():
        return model(scale(x))

    said = str(failure_of(model, step))
    assert "inside shelf" in said
    assert "clone" not in said and "div" not in said


@pytest.mark.parametrize("width, fits", [(2700, 30), (2800, None)])
def test_of_two_equal_factors_the_size_is_said_that_fits_for_both(width, fits):
    """3072 is 3·32·32: 2700 is 3·30·30, and of 2800 neither 3 nor 32 alone is odd."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(width, 10))
    found = failure_of(model, lambda: model(torch.randn(4, 3, 32, 32)))
    assert found.culprits[1].kind == "input"
    assert found.culprits[1].expected == fits


def test_no_line_is_offered_with_names_that_the_users_code_has_not(library):
    """What a library's line calls its tensors is nothing that the user can type."""
    model = nn.Linear(6, 3)
    labels = torch.randint(0, 3, (4, 2))
    found = failure_of(
        model, lambda: library.compared(model(torch.randn(4, 6)), labels)
    )
    assert found.culprits[0].kind == "target"  # each sample has two labels
    assert not any(fix.where is None for fix in found.fixes)


def test_a_batch_that_a_library_stacks_is_blamed_on_its_samples(library):
    """Each label has a dimension of its own, which the library's `stack` only keeps."""
    model = nn.Linear(6, 3)

    def step():
        labels = [torch.randint(0, 3, (1,)) for _ in range(4)]
        for y in library.batches(labels):
            F.cross_entropy(model(torch.randn(4, 6)), y)

    found = failure_of(model, step)
    line = step.__code__.co_firstlineno + 1
    first = found.culprits[0]
    assert (first.kind, first.name) == (
        "target",
        f"target made by randint at test_loaded_data.py:{line}",
    )
    assert found.fixes[0].line.endswith("y.squeeze(1))")


def test_what_a_library_only_passes_on_is_folded_before_the_model(library):
    model = nn.Linear(5, 3)

    def step():
        x = torch.randn(4, 6)
        return model(library.prepared(x))

    said = str(failure_of(model, step))
    assert "randn" in said and "… 2 calls inside shelf" in said
    assert "__init__.py" not in said


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.critic = nn.ConvTranspose2d(4, 3, 16), nn.Conv2d(3, 1, 4, 4)

    def forward(self, z):
        return self.net(z)


def test_images_that_a_library_resized_are_data(library):
    model = Generator()

    def step():
        real = library.resized(torch.rand(2, 3, 40, 30), (21, 16))
        fake = model(torch.rand(2, 4, 1, 1))
        model.critic(real)
        return model.critic(real * 0.5 + fake * 0.5)

    with shapetrace.trace(model) as t, pytest.raises(RuntimeError):
        step()
    graph = Graph(t.recording)
    found = [one.hypothesis for one in consider(graph, mismatch_of(graph)).scored]
    assert (21, 16) in [(one.size, one.expected) for one in found if one.form == "data"]


def test_what_a_librarys_module_made_is_told_of_the_module(library):
    model = nn.Sequential(nn.Linear(6, 8), library.Folded())
    found = failure_of(
        model, lambda: F.mse_loss(model(torch.rand(3, 6)), torch.rand(3, 4, 4))
    )
    assert ("function", "reshape") not in [(c.kind, c.name) for c in found.culprits]
    assert "1" in [one.name for one in found.culprits if one.kind == "module"]
