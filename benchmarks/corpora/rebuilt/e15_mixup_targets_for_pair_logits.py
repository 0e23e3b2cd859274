import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from timm.data.mixup import Mixup
from timm.loss import SoftTargetCrossEntropy

SOURCE = 'https://github.com/microsoft/UniCL/issues/12'
CATEGORY = 'layer'
DESCRIPTION = 'UniCL: the network returns (B,B) image-text similarities, mixup turns the labels into (B, num_classes) soft targets for an ordinary classifier.'


class ImageEncoder(nn.Module):
    def __init__(self, dims=(16, 32, 48)):
        super().__init__()
        layers, cin = [], 3
        for d in dims:
            layers += [nn.Conv2d(cin, d, 3, 2, 1), nn.GroupNorm(4, d), nn.GELU()]
            cin = d
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(cin)
        self.dim_out = cin

    def forward(self, x):
        return self.norm(self.layers(x).mean(dim=(2, 3)))


class TextEncoder(nn.Module):
    def __init__(self, vocab=100, width=40, context=12):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(context, width))
        layer = nn.TransformerEncoderLayer(width, 4, 80, dropout=0.0, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 1)
        self.ln_final = nn.LayerNorm(width)
        self.dim_out = width

    def forward(self, text):
        x = self.token_embedding(text) + self.positional_embedding[:text.size(1)]
        x = self.ln_final(self.transformer(x))
        return x[torch.arange(x.size(0)), text.argmax(-1)]


class UniCLModel(nn.Module):
    def __init__(self, dim_projection=32):
        super().__init__()
        self.image_encoder = ImageEncoder()
        self.lang_encoder = TextEncoder()
        self.image_projection = nn.Parameter(0.1 * torch.randn(self.image_encoder.dim_out, dim_projection))
        self.text_projection = nn.Parameter(0.1 * torch.randn(self.lang_encoder.dim_out, dim_projection))
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    def encode_image(self, image):
        return F.normalize(self.image_encoder(image) @ self.image_projection, dim=-1)

    def encode_text(self, text):
        return F.normalize(self.lang_encoder(text) @ self.text_projection, dim=-1)

    def forward(self, image, text):
        features_image = self.encode_image(image)
        features_text = self.encode_text(text)
        logits = self.logit_scale.exp() * features_image @ features_text.t()
        return logits


def build_mixup(config):
    return Mixup(mixup_alpha=config['MIXUP'], cutmix_alpha=config['CUTMIX'], prob=1.0, switch_prob=0.5, mode='batch',
                 label_smoothing=config['LABEL_SMOOTHING'], num_classes=config['NUM_CLASSES'])


class Loader:
    prompts = torch.randint(1, 99, (20, 12), generator=torch.Generator().manual_seed(5))

    def __iter__(self):
        for _ in range(2):
            targets = torch.randint(0, 20, (8,))
            yield torch.randn(8, 3, 32, 32), self.prompts[targets], targets


def train_one_epoch(model, criterion, data_loader, mixup_fn):
    total, n = 0.0, 0
    for samples, texts, targets in data_loader:
        if mixup_fn is not None:
            samples, targets = mixup_fn(samples, targets)
        outputs = model(samples, texts)
        loss = criterion(outputs, targets) + criterion(outputs.t(), targets)
        total, n = total + loss / 2, n + 1
    return total / n


def build():
    return UniCLModel()


def step(model):
    config = dict(MIXUP=0.8, CUTMIX=0.0, LABEL_SMOOTHING=0.1, NUM_CLASSES=20)
    np.random.seed(0)
    return train_one_epoch(model, SoftTargetCrossEntropy(), Loader(), build_mixup(config))


# real fix: the affinity of the samples is the target, (B,B): targets @ targets.t()
# offending tensor: targets (8, 20), (8, 8) wanted
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['target', 'function:full', 'function:scatter'], dim=1, got=20, wanted=8,
             hint_any=['target', 'num_classes', 'batch'])
MENDED = [('samples, targets = mixup_fn(samples, targets)', 'samples, targets = mixup_fn(samples, targets)\n            targets = targets @ targets.t()')]
