import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/issues/13379'
CATEGORY = 'layer'
DESCRIPTION = 'wav2vec 2.0 with SpecAugment: the mask over the 48 features is computed with the attention mask of the 49 frames.'


class Config:
    conv_dim = (16, 16, 16, 16)
    conv_kernel = (10, 8, 4, 4)
    conv_stride = (5, 4, 4, 4)
    hidden_size = 48
    num_attention_heads = 4
    num_hidden_layers = 2
    intermediate_size = 64
    vocab_size = 32
    hidden_dropout = 0.1
    layerdrop = 0.0
    mask_time_prob, mask_time_length = 0.065, 4
    mask_feature_prob, mask_feature_length = 0.1, 6
    pad_token_id = 0


def compute_mask_indices(shape, mask_prob, mask_length, attention_mask=None, min_masks=1):
    batch_size, sequence_length = shape
    num_masked_spans = max(int(mask_prob * sequence_length / mask_length + torch.rand(()).item()), min_masks)
    mask = torch.zeros(shape, dtype=torch.bool)
    starts = torch.stack([torch.randperm(sequence_length - mask_length + 1)[:num_masked_spans] for _ in range(batch_size)])
    idxs = (starts[:, :, None] + torch.arange(mask_length)).flatten(1)
    mask.scatter_(1, idxs, True)
    if attention_mask is not None:
        mask = torch.where(attention_mask.bool(), mask, False)
    return mask


class FeatureExtractor(nn.Module):
    def __init__(self, config):
        super().__init__()
        dims = (1,) + config.conv_dim
        self.conv_layers = nn.ModuleList(
            nn.Sequential(nn.Conv1d(i, o, k, s, bias=False), nn.GroupNorm(o, o) if n == 0 else nn.Identity(), nn.GELU())
            for n, (i, o, k, s) in enumerate(zip(dims, dims[1:], config.conv_kernel, config.conv_stride)))

    def forward(self, x):
        x = x[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


class FeatureProjection(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.conv_dim[-1])
        self.projection = nn.Linear(config.conv_dim[-1], config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, x):
        return self.dropout(self.projection(self.layer_norm(x)))


class Wav2Vec2ForCTC(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = FeatureProjection(config)
        self.masked_spec_embed = nn.Parameter(torch.rand(config.hidden_size))
        layer = nn.TransformerEncoderLayer(config.hidden_size, config.num_attention_heads, config.intermediate_size,
                                           config.hidden_dropout, 'gelu', batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, config.num_hidden_layers)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)

    def get_output_lengths(self, lengths):
        for k, s in zip(self.config.conv_kernel, self.config.conv_stride):
            lengths = (lengths - k) // s + 1
        return lengths

    def mask_hidden_states(self, hidden_states, attention_mask=None):
        batch_size, sequence_length, hidden_size = hidden_states.size()
        c = self.config
        if c.mask_time_prob > 0 and self.training:
            time_mask = compute_mask_indices((batch_size, sequence_length), c.mask_time_prob, c.mask_time_length,
                                             attention_mask=attention_mask, min_masks=2)
            hidden_states = torch.where(time_mask[..., None], self.masked_spec_embed, hidden_states)
        if c.mask_feature_prob > 0 and self.training:
            feature_mask = compute_mask_indices((batch_size, hidden_size), c.mask_feature_prob, c.mask_feature_length,
                                                attention_mask=attention_mask, min_masks=1)
            hidden_states = hidden_states.masked_fill(feature_mask[:, None].expand(-1, sequence_length, -1), 0)
        return hidden_states

    def forward(self, input_values, attention_mask, labels):
        x = self.feature_extractor(input_values).transpose(1, 2)
        lengths = self.get_output_lengths(attention_mask.sum(-1))
        frame_mask = torch.arange(x.shape[1]) < lengths[:, None]
        x = self.feature_projection(x)
        x = self.mask_hidden_states(x, frame_mask)
        x = self.encoder(x, src_key_padding_mask=~frame_mask)
        logits = self.lm_head(self.dropout(x))
        log_probs = F.log_softmax(logits, dim=-1).transpose(0, 1)
        keep = labels >= 0
        return F.ctc_loss(log_probs, labels.masked_select(keep), lengths, keep.sum(-1),
                          blank=self.config.pad_token_id, zero_infinity=True)


def build():
    return Wav2Vec2ForCTC(Config())


def step(model):
    lengths = torch.tensor([16000, 12345, 9000])
    attention_mask = (torch.arange(16000) < lengths[:, None]).long()
    labels = torch.randint(1, 32, (3, 12)).masked_fill(torch.arange(12) >= torch.tensor([[12], [9], [5]]), -100)
    return model(torch.randn(3, 16000) * attention_mask, attention_mask, labels)


# real fix: no attention mask for the feature mask (the second call of compute_mask_indices)
# offending tensor: attention_mask (3, 49) inside compute_mask_indices, the mask is (3, 48)
TRUTH = dict(raises='RuntimeError', at='function:where', culprits=['', 'function:zeros', 'function:scatter', 'function:lt'], dim=1, got=49, wanted=48,
             hint_any=['attention_mask', 'feature', 'hidden_size', 'frame', 'time'])
MENDED = [('c.mask_feature_length,\n                                                attention_mask=attention_mask, min_masks=1)',
           'c.mask_feature_length,\n                                                min_masks=1)')]
