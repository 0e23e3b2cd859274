"""The callback in a real Lightning trainer, on the CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import shapetrace

lightning = pytest.importorskip("lightning")
pytestmark = [
    pytest.mark.zoo,
    # what the framework itself warns of on so small a run
    pytest.mark.filterwarnings("ignore"),
]


class Net(lightning.LightningModule):
    def __init__(self, width=3):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, width), nn.ReLU())

    def training_step(self, batch, index):
        x, y = batch
        return nn.functional.mse_loss(self.body(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(callback, folder, model=None, **options):
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(20, 4), torch.randn(20, 3))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[callback] if callback else [],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )
    torch.manual_seed(0)
    model = model or Net()
    trainer.fit(model, DataLoader(data, batch_size=6))
    return model


def test_the_step_that_was_asked_for_is_written(tmp_path):
    from shapetrace.callbacks import LightningCallback

    callback = LightningCallback(step=4, path=tmp_path / "step.json")
    fit(callback, tmp_path)
    t = shapetrace.load(tmp_path / "step.json")
    assert [call.name for call in t.calls] == ["body", "body.0", "body.1"]
    assert t.calls[0].inputs[0].shape == (2, 4)  # the short last batch
    assert [loss.name for loss in t.losses] == ["mse_loss"]
    assert t.recording == callback.trace.recording


def test_a_step_with_accumulated_batches_has_them_all(tmp_path):
    from shapetrace.callbacks import LightningCallback

    callback = LightningCallback(step=2, path=tmp_path / "step.csv")
    fit(callback, tmp_path, accumulate_grad_batches=2)
    outermost = [call for call in callback.trace.calls if call.parent is None]
    assert [call.inputs[0].shape[0] for call in outermost] == [6, 2]


def test_a_step_that_fails_is_explained_and_written(tmp_path):
    from shapetrace.callbacks import LightningCallback

    callback = LightningCallback(path=tmp_path / "step.html", backward=True)
    with pytest.raises(RuntimeError, match="size of tensor a") as raised:
        fit(callback, tmp_path, Net(width=7))
    assert "body.0" in "".join(raised.value.__notes__)
    assert "mse_loss" in (tmp_path / "step.html").read_text()


def test_training_computes_the_same_with_it(tmp_path):
    from shapetrace.callbacks import LightningCallback

    traced = fit(LightningCallback(step=2, path=tmp_path / "a.csv"), tmp_path)
    for a, b in zip(traced.parameters(), fit(None, tmp_path).parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_that_never_comes_leaves_no_report_and_that_is_said(tmp_path):
    from shapetrace.callbacks import LightningCallback

    callback = LightningCallback(step=99, path=tmp_path / "step.html")
    with pytest.warns(shapetrace.ShapeTraceWarning, match="step 4: step 99 never"):
        fit(callback, tmp_path)
    assert callback.trace is None and not list(tmp_path.glob("step*"))


def test_a_report_that_cannot_be_written_ends_no_training(tmp_path):
    from shapetrace.callbacks import LightningCallback

    (tmp_path / "gone").mkdir()
    callback = LightningCallback(step=2, path=tmp_path / "gone" / "step.html")
    (tmp_path / "gone").rmdir()
    with pytest.warns(shapetrace.ShapeTraceWarning, match="callback.trace holds the"):
        fit(callback, tmp_path)
    assert len(callback.trace.calls) == 3


def test_what_cannot_be_meant_is_refused(tmp_path):
    from shapetrace.callbacks import LightningCallback

    with pytest.raises(shapetrace.UsageError, match="counted from 1"):
        LightningCallback(step=0)
    with pytest.raises(shapetrace.UsageError, match=r"\.html, \.csv, \.json"):
        LightningCallback(path="report.pdf")
    with pytest.raises(shapetrace.UsageError, match="make the folder first"):
        LightningCallback(path=tmp_path / "missing" / "report.html")
