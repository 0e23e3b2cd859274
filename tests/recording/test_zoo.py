"""Real models: the trace says what plain hooks say, and changes nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import left_on
from invariants import check_invariants
from test_observation import same
from torch import nn

import shapetrace

pytestmark = pytest.mark.zoo

Shapes = list[tuple[int, ...]]
Row = tuple[str, Shapes, Shapes]


def shapes(value: Any) -> Shapes:
    """The shapes of a nested value's tensors, written without shapetrace."""
    if isinstance(value, torch.Tensor):
        return [tuple(value.shape)]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [shape for part in value for shape in shapes(part)]
    if hasattr(value, "__dataclass_fields__"):
        parts = [getattr(value, name, None) for name in value.__dataclass_fields__]
        return [shape for part in parts for shape in shapes(part)]
    return []


def reference(model: nn.Module, run: Callable[[], Any]) -> tuple[Any, list[Row]]:
    """Output and rows by plain hooks, in the order of entry."""
    rows: list[Any] = []
    stack: list[int] = []
    handles = []
    for name, module in model.named_modules():

        def enter(_: Any, args: Any, kwargs: Any, name: str = name) -> None:
            stack.append(len(rows))
            rows.append([name, shapes(args) + shapes(kwargs), None])

        def leave(_: Any, args: Any, kwargs: Any, output: Any) -> None:
            rows[stack.pop()][2] = shapes(output)

        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave, with_kwargs=True))
    output = run()
    for handle in handles:
        handle.remove()
    return output, [tuple(row) for row in rows]


def check(model: nn.Module, *args: Any, functions: bool = True, **kwargs: Any) -> None:
    def run() -> Any:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the model's own
            return model(*args, **kwargs)

    state = {key: value.clone() for key, value in model.state_dict().items()}
    expected, rows = reference(model, run)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            tensor.copy_(state[key])
    with shapetrace.trace(model, functions=functions, checks=False) as t:
        output = run()
    check_invariants(t.recording)
    found = [
        (call.name, [r.shape for r in call.inputs], [r.shape for r in call.outputs])
        for call in t.calls
    ]
    assert found == rows
    assert same(output, expected)
    assert not any(left_on(module) for module in model.modules())
    assert not t.recording.notes or "fast path" in t.recording.notes[0]
    assert len(t.to_dataframe()) == len(rows)
    assert type(model).__name__ in str(t)
    assert type(model).__name__ in t._repr_html_()


def image(size: int = 32, batch: int = 2) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(batch, 3, size, size)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 32),
        ("vgg11_bn", 32),
        ("densenet121", 32),
        ("mobilenet_v3_small", 32),
        ("shufflenet_v2_x0_5", 32),
        ("squeezenet1_1", 32),
        ("efficientnet_b0", 32),
        ("regnet_y_400mf", 32),
        ("convnext_tiny", 32),
        ("swin_t", 32),
        ("googlenet", 64),
    ],
)
def test_classifiers_of_torchvision(name, size):
    models = pytest.importorskip("torchvision.models")
    options = {"init_weights": False} if name == "googlenet" else {}
    model = models.get_model(name, num_classes=7, **options)
    check(model.train(), image(size))
    with torch.no_grad():
        check(model.eval(), image(size), functions=False)


def test_a_segmenter_of_torchvision():
    models = pytest.importorskip("torchvision.models.segmentation")
    model = models.lraspp_mobilenet_v3_large(num_classes=3, weights_backbone=None)
    with torch.no_grad():
        check(model.eval(), image(32))


@pytest.mark.parametrize(
    "name", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"]
)
def test_a_detector_of_torchvision_in_training_and_evaluation(name):
    models = pytest.importorskip("torchvision.models.detection")
    model = getattr(models, name)(
        weights=None, weights_backbone=None, num_classes=4, **SMALL.get(name, {})
    )
    images = list(image(64))
    target = {
        "boxes": torch.tensor([[2.0, 3.0, 40.0, 50.0]]),
        "labels": torch.tensor([1]),
    }
    check(model.train(), images, [target, dict(target)])
    with torch.no_grad():
        check(model.eval(), images)


SMALL = {"fasterrcnn_mobilenet_v3_large_320_fpn": {"min_size": 64, "max_size": 64}}


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "resnet10t",
        "convnext_atto",
        "mixer_s32_224",
        "efficientvit_b0",
        "ghostnet_050",
    ],
)
def test_models_of_timm(name):
    timm = pytest.importorskip("timm")
    size = 224 if name.endswith("224") else 64
    model = timm.create_model(name, pretrained=False, num_classes=5)
    with torch.no_grad():
        check(model.eval(), image(size, 1))


TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 32}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
T5 |= {"vocab_size": 50, "decoder_start_token_id": 0}
VIT = {"image_size": 32, "patch_size": 8}
TRANSFORMERS: list[tuple[str, str, dict[str, Any], str]] = [
    ("BertConfig", "BertForSequenceClassification", TINY, "text"),
    ("GPT2Config", "GPT2LMHeadModel", GPT2, "text"),
    ("T5Config", "T5ForConditionalGeneration", T5, "both"),
    ("LlamaConfig", "LlamaForCausalLM", TINY, "text"),
    ("MistralConfig", "MistralModel", TINY | {"num_key_value_heads": 1}, "text"),
    ("ViTConfig", "ViTModel", TINY | VIT, "image"),
]


@pytest.mark.parametrize(("config", "name", "options", "kind"), TRANSFORMERS)
def test_models_of_transformers(config, name, options, kind):
    transformers = pytest.importorskip("transformers")
    model = getattr(transformers, name)(getattr(transformers, config)(**options))
    torch.manual_seed(1)
    tokens = torch.randint(2, 40, (2, 9))
    given = {"pixel_values": image(32)} if kind == "image" else {"input_ids": tokens}
    if kind == "both":
        given["labels"] = tokens[:, :5].contiguous()
    check(model.eval(), **given)
    check(model.train(), **given, functions=False)


def test_reports_of_a_real_model_can_be_written_and_read_back(tmp_path):
    models = pytest.importorskip("torchvision.models")
    model = models.mobilenet_v3_small(num_classes=3).eval()
    with shapetrace.trace(model) as t:
        model(image(32))
    for kind in ("csv", "json", "html"):
        getattr(t, f"to_{kind}")(tmp_path / f"report.{kind}")
        assert (tmp_path / f"report.{kind}").stat().st_size > 1000
    assert shapetrace.load(tmp_path / "report.json") == t
