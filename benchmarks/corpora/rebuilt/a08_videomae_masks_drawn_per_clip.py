import torch
import torch.nn as nn
from transformers import VideoMAEConfig, VideoMAEForPreTraining

SOURCE = 'https://github.com/huggingface/transformers/issues/21484'
CATEGORY = 'layer'
DESCRIPTION = 'VideoMAE pretraining: the collate function draws a mask for every clip on its own, so the clips of a batch keep different numbers of patches.'

MASK_RATIO = 0.9


def make_config():
    return VideoMAEConfig(image_size=48, patch_size=8, num_channels=3, num_frames=8, tubelet_size=2, hidden_size=32,
                          num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, decoder_num_hidden_layers=1,
                          decoder_hidden_size=24, decoder_num_attention_heads=2, decoder_intermediate_size=48)


class RandomMasking:
    def __init__(self, config, ratio):
        self.ratio = ratio
        self.seq_length = (config.num_frames // config.tubelet_size) * (config.image_size // config.patch_size) ** 2

    def __call__(self):
        return torch.rand(self.seq_length) < self.ratio


class Collator:
    def __init__(self, config):
        self.masking = RandomMasking(config, MASK_RATIO)

    def __call__(self, examples):
        return {
            'pixel_values': torch.stack([e['pixel_values'] for e in examples]),
            'bool_masked_pos': torch.stack([self.masking() for _ in examples]),
        }


class PretrainModule(nn.Module):
    def __init__(self, config, aux_weight=0.01):
        super().__init__()
        self.model = VideoMAEForPreTraining(config)
        self.probe = nn.Sequential(nn.LayerNorm(config.hidden_size), nn.Linear(config.hidden_size, 2))
        self.aux_weight = aux_weight

    def training_step(self, batch):
        out = self.model(pixel_values=batch['pixel_values'], bool_masked_pos=batch['bool_masked_pos'])
        tokens = self.model.videomae(batch['pixel_values'].flip(1)).last_hidden_state
        direction = torch.ones(len(tokens), dtype=torch.long)
        return out.loss + self.aux_weight * nn.functional.cross_entropy(self.probe(tokens.mean(1)), direction)

    def forward(self, batch):
        return self.training_step(batch)


def read_clip(frames=8):
    video = torch.rand(24, 3, 48, 48)
    index = torch.linspace(0, 23, frames).long()
    return {'pixel_values': (video[index] - 0.45) / 0.225}


def build():
    return PretrainModule(make_config())


def step(model):
    collate = Collator(make_config())
    return model(collate([read_clip() for _ in range(4)]))


# real fix: the same number of masked patches for every clip: torch.rand(L).argsort() < int(ratio * L)
# offending tensor: the visible patches of all clips together, which are not four times the same number
TRUTH = dict(raises='RuntimeError', at='function:reshape',
             culprits=['input', 'function:lt', 'function:getitem', 'model.videomae.embeddings'], dim=None, got=None, wanted=None,
             hint_any=['mask', 'same number', 'visible', 'true entries'])
MENDED = [('torch.rand(self.seq_length) < self.ratio', 'torch.rand(self.seq_length).argsort() < int(self.ratio * self.seq_length)')]
