"""The callback in a real transformers.Trainer, on the CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import shapetrace

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = [
    pytest.mark.zoo,
    # what the framework itself warns of on so small a run
    pytest.mark.filterwarnings("ignore"),
]


class Net(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, width), nn.ReLU())

    def forward(self, x, labels):
        logits = self.body(x)
        return {"loss": nn.functional.mse_loss(logits, labels), "logits": logits}


class LossOutside(transformers.Trainer):
    def compute_loss(self, model, inputs, *args, **kwargs):
        return nn.functional.mse_loss(model.body(inputs["x"]), inputs["labels"])


def trainer(callback, folder, model=None, kind=transformers.Trainer, **options):
    torch.manual_seed(0)
    data = [{"x": torch.randn(4), "labels": torch.randn(3)} for _ in range(20)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        num_train_epochs=1,
        per_device_train_batch_size=6,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        **options,
    )
    torch.manual_seed(0)
    return kind(
        model=model or Net(),
        args=arguments,
        train_dataset=data,
        callbacks=[callback] if callback else [],
    )


def test_the_step_that_was_asked_for_is_written(tmp_path):
    from shapetrace.callbacks import TrainerCallback

    callback = TrainerCallback(step=4, path=tmp_path / "step.json")
    trainer(callback, tmp_path).train()
    t = shapetrace.load(tmp_path / "step.json")
    assert [call.name for call in t.calls] == ["", "body", "body.0", "body.1"]
    assert t.calls[0].inputs[0].shape[0] == 2  # the short last batch
    assert t.recording == callback.trace.recording


def test_a_step_with_accumulated_batches_has_them_all(tmp_path):
    from shapetrace.callbacks import TrainerCallback

    callback = TrainerCallback(step=2, path=tmp_path / "step.csv")
    trainer(callback, tmp_path, gradient_accumulation_steps=2).train()
    outermost = [call for call in callback.trace.calls if call.parent is None]
    assert [call.inputs[0].shape[0] for call in outermost] == [6, 2]


def test_a_forward_that_fails_is_explained_and_written(tmp_path):
    from shapetrace.callbacks import TrainerCallback

    callback = TrainerCallback(path=tmp_path / "step.html")
    with pytest.raises(RuntimeError, match="size of tensor a") as raised:
        trainer(callback, tmp_path, Net(width=7)).train()
    assert "body.0" in "".join(raised.value.__notes__)
    assert "mse_loss" in (tmp_path / "step.html").read_text()


def test_a_loss_outside_the_model_is_explained_in_a_with_block(tmp_path):
    from shapetrace.callbacks import TrainerCallback

    callback = TrainerCallback(path=tmp_path / "step.html")
    failing = trainer(callback, tmp_path, Net(width=7), LossOutside)
    with pytest.raises(RuntimeError, match="size of tensor a") as raised, callback:
        failing.train()
    assert "body.0" in "".join(raised.value.__notes__)
    assert "mse_loss" in (tmp_path / "step.html").read_text()


def test_training_computes_the_same_with_it(tmp_path):
    from shapetrace.callbacks import TrainerCallback

    nets = [Net(), Net()]
    nets[1].load_state_dict(nets[0].state_dict())
    callback = TrainerCallback(step=2, path=tmp_path / "a.csv")
    for net, one in zip(nets, (callback, None), strict=True):
        trainer(one, tmp_path, net).train()
    assert callback.trace.calls
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_target_comes_from_the_users_line_and_not_from_the_trainers(tmp_path):
    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, at):
            return {"x": torch.randn(4), "labels": torch.randn(5)}

    built = trainer(None, tmp_path)
    built.train_dataset = Samples()
    with pytest.raises(RuntimeError), shapetrace.trace() as t:
        built.train()
    line = Samples.__getitem__.__code__.co_firstlineno + 1
    target = t.failure.operands[1]
    assert target.label == "target"
    assert target.origin == f"made by randn at test_hugging_face.py:{line}"
    assert "Fix (" in str(t.failure)


def test_a_step_that_never_comes_leaves_no_report_and_that_is_said(tmp_path):
    from shapetrace.callbacks import TrainerCallback

    callback = TrainerCallback(step=99, path=tmp_path / "step.html")
    with pytest.warns(shapetrace.ShapeTraceWarning, match="step 4: step 99 never"):
        trainer(callback, tmp_path).train()
    assert callback.trace is None and not list(tmp_path.glob("step*"))
