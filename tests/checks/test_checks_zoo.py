"""Training steps of real architectures: a false alarm is a defect."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import shapetrace

pytestmark = [pytest.mark.zoo, pytest.mark.filterwarnings("ignore")]

CLASSIFIERS = (
    "alexnet resnet18 densenet121 squeezenet1_1 googlenet shufflenet_v2_x0_5 "
    "mobilenet_v3_small efficientnet_b0 mnasnet0_5 regnet_y_400mf convnext_tiny swin_t "
    "swin_v2_t vit_b_32"
).split()
SEGMENTERS = "lraspp_mobilenet_v3_large deeplabv3_mobilenet_v3_large fcn_resnet50"
DETECTORS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn ssdlite320_mobilenet_v3_large "
    "maskrcnn_resnet50_fpn keypointrcnn_resnet50_fpn retinanet_resnet50_fpn "
    "fcos_resnet50_fpn"
)
TIMM = (
    "vit_tiny_patch16_224 levit_128s coat_lite_tiny mobilevit_xxs cait_xxs24_224 "
    "xcit_nano_12_p16_224 skresnet18 resnest14d botnet26t_256 efficientformer_l1"
)


def alarms(model, step):
    torch.manual_seed(0)
    with shapetrace.trace(model.train()) as t:
        step(model).backward()
    return [str(found) for found in t.findings if found.severity != "note"]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_torchvision_classification(name):
    models = pytest.importorskip("torchvision.models")
    extra = {"init_weights": False} if name == "googlenet" else {}
    model = models.get_model(name, weights=None, num_classes=10, **extra)
    size = 224 if name == "vit_b_32" else 64

    def step(model):
        out, y = model(torch.randn(2, 3, size, size)), torch.randint(0, 10, (2,))
        heads = out if isinstance(out, tuple) else (out,)
        return sum(F.cross_entropy(head, y) for head in heads if head is not None)

    assert alarms(model, step) == []


@pytest.mark.parametrize("name", SEGMENTERS.split())
def test_torchvision_segmentation(name):
    models = pytest.importorskip("torchvision.models")
    model = models.get_model(name, weights=None, weights_backbone=None, num_classes=21)

    def step(model):
        y = torch.randint(0, 21, (2, 64, 64))
        return F.cross_entropy(model(torch.randn(2, 3, 64, 64))["out"], y)

    assert alarms(model, step) == []


@pytest.mark.parametrize("name", DETECTORS.split())
def test_torchvision_detection(name):
    models = pytest.importorskip("torchvision.models")
    extra = {} if name.startswith("ssd") else {"min_size": 64, "max_size": 128}
    model = models.get_model(
        name, weights=None, weights_backbone=None, num_classes=2, **extra
    )
    points = torch.cat([torch.rand(2, 17, 2) * 30 + 10, torch.ones(2, 17, 1)], 2)
    target = {
        "boxes": torch.tensor([[5.0, 5, 40, 40], [10, 10, 60, 50]]),
        "labels": torch.tensor([1, 1]),
        "masks": torch.randint(0, 2, (2, 64, 64), dtype=torch.uint8),
        "keypoints": points,
    }

    def step(model):
        return sum(model([torch.rand(3, 64, 64)] * 2, [target] * 2).values())

    assert alarms(model, step) == []


@pytest.mark.parametrize("name", TIMM.split())
def test_timm(name):
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, num_classes=7)
    size = min(model.pretrained_cfg["input_size"][-1], 256)

    def step(model):
        out = model(torch.randn(2, 3, size, size))
        return F.cross_entropy(out, torch.randint(0, 7, (2,)))

    assert alarms(model, step) == []


TINY = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "vocab_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 64}
OPT = {"ffn_dim": 48, "word_embed_proj_dim": 32}
SEQ2SEQ = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 64,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3,
}  # fmt: skip
VISION = {**TINY, "image_size": 32, "patch_size": 8, "num_labels": 3}
GROUPED = {**TINY, "num_key_value_heads": 2}
TEXT = {
    "BertForMaskedLM": TINY,
    "RobertaForMaskedLM": TINY,
    "AlbertForMaskedLM": {**TINY, "embedding_size": 16},
    "DebertaV2ForMaskedLM": {**TINY, "relative_attention": True},
    "LongformerForMaskedLM": {**TINY, "attention_window": 4},
    "FNetForMaskedLM": TINY,
    "XLNetLMHeadModel": {
        "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "vocab_size": 64,
    },
    "GPT2LMHeadModel": GPT,
    "GPTNeoXForCausalLM": TINY,
    "OPTForCausalLM": {**TINY, **OPT},
    "LlamaForCausalLM": GROUPED,
    "MistralForCausalLM": GROUPED,
    "GemmaForCausalLM": {**GROUPED, "head_dim": 8},
    "MixtralForCausalLM": {**GROUPED, "num_local_experts": 4},
    "BloomForCausalLM": {
        "hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64,
    },
    "MambaForCausalLM": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 64},
    "T5ForConditionalGeneration": {
        "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
        "vocab_size": 64, "decoder_start_token_id": 0,
    },
    "BartForConditionalGeneration": SEQ2SEQ,
}  # fmt: skip
IMAGES = {
    "ViTForImageClassification": VISION,
    "BeitForImageClassification": VISION,
    "Dinov2ForImageClassification": VISION,
    "SwinForImageClassification": {
        "image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2],
        "num_heads": [2, 4], "window_size": 4, "num_labels": 3,
    },
}  # fmt: skip


def build(name, config):
    transformers = pytest.importorskip("transformers")
    stem = name.partition("For")[0].removesuffix("LMHeadModel")
    return getattr(transformers, name)(getattr(transformers, stem + "Config")(**config))


@pytest.mark.parametrize("name", TEXT)
def test_transformers_of_text(name):
    def step(model):
        ids = torch.randint(5, 64, (3, 12))
        labels = ids.clone()
        if "XLNet" not in name:
            labels[:, 9:] = -100
        return model(input_ids=ids, labels=labels).loss

    assert alarms(build(name, TEXT[name]), step) == []


@pytest.mark.parametrize("name", IMAGES)
def test_transformers_of_images(name):
    def step(model):
        images = torch.randn(2, 3, 32, 32)
        return model(pixel_values=images, labels=torch.tensor([0, 2])).loss

    assert alarms(build(name, IMAGES[name]), step) == []
