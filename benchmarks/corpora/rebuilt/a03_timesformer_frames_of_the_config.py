import torch
import torch.nn as nn
from transformers import TimesformerConfig, TimesformerModel

SOURCE = 'https://github.com/huggingface/transformers/issues/38027'
CATEGORY = 'layer'
DESCRIPTION = 'TimeSformer interpolates its temporal embedding to any clip length, but its layers cut the tokens by config.num_frames.'

CLIP = dict(image_size=64, frames=15, fps=30)


def backbone_config(**overrides):
    base = dict(image_size=CLIP['image_size'], patch_size=16, num_frames=8, hidden_size=32, num_hidden_layers=2,
                num_attention_heads=4, intermediate_size=64, attention_type='divided_space_time')
    base.update(overrides)
    return TimesformerConfig(**base)


class ActionRecogniser(nn.Module):
    def __init__(self, num_classes=12, dropout=0.2):
        super().__init__()
        self.backbone = TimesformerModel(backbone_config(hidden_dropout_prob=0.1))
        self.norm = nn.LayerNorm(32)
        self.dropout = nn.Dropout(dropout)
        self.action = nn.Linear(32, num_classes)
        self.speed = nn.Linear(32, 1)

    def forward(self, pixel_values):
        tokens = self.backbone(pixel_values=pixel_values).last_hidden_state
        pooled = self.dropout(self.norm(tokens[:, 0]))
        return self.action(pooled), self.speed(pooled).squeeze(1)


def collate(samples):
    clips, labels, speeds = zip(*samples)
    return {'pixel_values': torch.stack(clips), 'labels': torch.tensor(labels), 'speed': torch.tensor(speeds)}


def sample_clip(length=90):
    video = torch.rand(length, 3, CLIP['image_size'], CLIP['image_size'])
    start = int(torch.randint(0, length - CLIP['frames'], (1,)))
    clip = video[start:start + CLIP['frames']]
    return (clip - 0.45) / 0.225, int(torch.randint(0, 12, (1,))), float(torch.rand(1))


def build():
    return ActionRecogniser()


def step(model):
    batch = collate([sample_clip() for _ in range(2)])
    logits, speed = model(batch['pixel_values'])
    loss = nn.functional.cross_entropy(logits, batch['labels'])
    return loss + 0.1 * nn.functional.mse_loss(speed, batch['speed'])


# real fix: num_frames=15 in the configuration (the layers take the number of frames from it)
# offending tensor: 15 * 16 = 240 tokens; reshape to (2, 7, 4, 8, 32) needs a multiple of 8 * 4
TRUTH = dict(raises='RuntimeError', at='function:reshape',
             culprits=['function:reshape', 'input', 'backbone.encoder.layer.0', ''], dim=None, got=None, wanted=None,
             hint_any=['num_frames', 'frames', '240', '15', '8'])
MENDED = [('num_frames=8', "num_frames=CLIP['frames']")]
