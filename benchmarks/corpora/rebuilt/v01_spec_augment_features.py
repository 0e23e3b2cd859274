from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/issues/13379 (fixed in pull request 13921)'
CATEGORY = 'layer'
DESCRIPTION = 'Wav2Vec2 SpecAugment along the feature axis: the helper is handed the frame-level attention mask (batch, frames) although its mask is (batch, hidden).'


def compute_mask_indices(shape, mask_prob, mask_length, attention_mask=None, min_masks=0):
    """Random spans for SpecAugment, True where a span is masked."""
    batch_size, length = shape
    num_spans = max(int(mask_prob * length / mask_length + 0.5), min_masks)
    if num_spans * mask_length > length:
        num_spans = length // mask_length
    starts = torch.multinomial(torch.ones(batch_size, length - (mask_length - 1)), num_spans)
    positions = starts[:, :, None] + torch.arange(mask_length)
    positions = positions.reshape(batch_size, num_spans * mask_length)
    mask = torch.zeros(batch_size, length, dtype=torch.bool).scatter(1, positions, True)
    if attention_mask is not None:
        mask = torch.where(attention_mask.bool(), mask, torch.zeros((), dtype=torch.bool))
    return mask


class FeatureExtractor(nn.Module):
    def __init__(self, config):
        super().__init__()
        dims = [1] + config.conv_dim
        self.conv_layers = nn.ModuleList(nn.Conv1d(i, o, k, stride=s) for i, o, k, s in zip(
            dims[:-1], dims[1:], config.conv_kernel, config.conv_stride))

    def forward(self, wave):
        hidden_states = wave[:, None]
        for conv in self.conv_layers:
            hidden_states = F.gelu(conv(hidden_states))
        return hidden_states.transpose(1, 2)


class Wav2Vec2Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = nn.Linear(config.conv_dim[-1], config.hidden_size)
        self.masked_spec_embed = nn.Parameter(torch.rand(config.hidden_size))
        self.encoder = nn.ModuleList(nn.TransformerEncoderLayer(
            config.hidden_size, config.num_heads, 64, dropout=0.0, batch_first=True) for _ in range(config.num_layers))

    def _get_feature_vector_attention_mask(self, frames, attention_mask):
        lengths = attention_mask.sum(-1)
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride):
            lengths = torch.div(lengths - kernel, stride, rounding_mode='floor') + 1
        return torch.arange(frames)[None] < lengths[:, None]

    def _mask_hidden_states(self, hidden_states, attention_mask=None):
        batch_size, sequence_length, hidden_size = hidden_states.size()
        cfg = self.config
        if cfg.mask_time_prob > 0 and self.training:
            mask_time = compute_mask_indices((batch_size, sequence_length), cfg.mask_time_prob, cfg.mask_time_length,
                                             attention_mask=attention_mask, min_masks=2)
            hidden_states = torch.where(mask_time[:, :, None], self.masked_spec_embed, hidden_states)
        if cfg.mask_feature_prob > 0 and self.training:
            mask_feature = compute_mask_indices((batch_size, hidden_size), cfg.mask_feature_prob, cfg.mask_feature_length,
                                                attention_mask=attention_mask, min_masks=0)
            hidden_states = hidden_states.masked_fill(mask_feature[:, None, :], 0)
        return hidden_states

    def forward(self, wave, attention_mask):
        features = self.feature_extractor(wave)
        attention_mask = self._get_feature_vector_attention_mask(features.shape[1], attention_mask)
        hidden_states = self._mask_hidden_states(self.feature_projection(features), attention_mask)
        for layer in self.encoder:
            hidden_states = layer(hidden_states, src_key_padding_mask=~attention_mask)
        return hidden_states


class SpeechClassifier(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.wav2vec2 = Wav2Vec2Model(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, wave, attention_mask):
        return self.classifier(self.wav2vec2(wave, attention_mask).mean(1))


def build():
    return SpeechClassifier(SimpleNamespace(
        conv_dim=[16, 16, 16], conv_kernel=[10, 3, 3], conv_stride=[5, 2, 2], hidden_size=32, num_heads=4, num_layers=2,
        num_labels=6, mask_time_prob=0.05, mask_time_length=4, mask_feature_prob=0.3, mask_feature_length=4)).train()


def step(model):
    wave = torch.randn(4, 1000)
    attention_mask = torch.ones(4, 1000, dtype=torch.long)
    attention_mask[1, 800:] = 0
    attention_mask[3, 640:] = 0
    return F.cross_entropy(model(wave, attention_mask), torch.randint(0, 6, (4,)))


# real fix: do not pass attention_mask to the call for the feature axis
# offending tensor: attention_mask (4, 49) where the mask over features is (4, 32)
TRUTH = dict(raises='RuntimeError', at='function:where', culprits=['function:where', 'wav2vec2'], dim=1, got=49, wanted=32,
             hint_any=['mask', '49', 'feature'])
MENDED = [("""cfg.mask_feature_length,
                                                attention_mask=attention_mask, min_masks=0)""",
           """cfg.mask_feature_length,
                                                min_masks=0)""")]
