import torch
import torch.nn as nn
import torch.nn.functional as F
from types import SimpleNamespace

SOURCE = 'https://github.com/huggingface/transformers/issues/47394'
CATEGORY = 'silent'
DESCRIPTION = 'GitForCausalLM shifts logits and labels itself and then calls a loss function that shifts the labels once more.'


def fixed_cross_entropy(source, target, ignore_index=-100):
    return F.cross_entropy(source, target, ignore_index=ignore_index, reduction='mean')


def ForCausalLMLoss(logits, labels, vocab_size, ignore_index=-100, shift_labels=None):
    logits = logits.float()
    if shift_labels is None:
        # so that tokens < n predict n
        labels = F.pad(labels, (0, 1), value=ignore_index)
        shift_labels = labels[..., 1:].contiguous()
    logits = logits.view(-1, vocab_size)
    shift_labels = shift_labels.view(-1)
    return fixed_cross_entropy(logits, shift_labels, ignore_index)


class GitVisionModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, config.patch, config.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(config.hidden_size) * 0.02)
        self.position = nn.Parameter(torch.randn(1, config.num_image_tokens, config.hidden_size) * 0.02)

    def forward(self, pixel_values):
        x = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1)
        return x + self.position


class GitLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_heads, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(config.hidden_size), nn.LayerNorm(config.hidden_size)
        self.mlp = nn.Sequential(nn.Linear(config.hidden_size, 32), nn.GELU(), nn.Linear(32, config.hidden_size))

    def forward(self, x, mask):
        x = self.norm1(x + self.attention(x, x, x, attn_mask=mask, need_weights=False)[0])
        return self.norm2(x + self.mlp(x))


class GitModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.image_encoder = GitVisionModel(config)
        self.visual_projection = nn.Linear(config.hidden_size, config.hidden_size)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layer = nn.ModuleList([GitLayer(config) for _ in range(2)])

    def combine_mask(self, text):
        img = self.config.num_image_tokens
        mask = torch.zeros(img + text, img + text, dtype=torch.bool)
        mask[:img, img:] = True
        mask[img:, img:] = torch.ones(text, text).triu(1).bool()
        return mask

    def forward(self, input_ids, pixel_values):
        x = torch.cat([self.visual_projection(self.image_encoder(pixel_values)), self.embeddings(input_ids)], dim=1)
        mask = self.combine_mask(input_ids.size(1))
        for layer in self.layer:
            x = layer(x, mask)
        return x


class GitForCausalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.git = GitModel(config)
        self.output = nn.Linear(config.hidden_size, config.vocab_size)
        self.loss_function = ForCausalLMLoss

    def forward(self, input_ids, pixel_values, labels=None):
        logits = self.output(self.git(input_ids, pixel_values))
        loss = None
        if labels is not None:
            # we are doing next-token prediction; shift prediction scores and input ids by one
            num_image_tokens = self.config.num_image_tokens
            shifted_logits = logits[:, num_image_tokens:-1, :].contiguous()
            labels = labels[:, 1:].contiguous()
            loss = self.loss_function(
                shifted_logits.view(-1, self.config.vocab_size),
                labels.view(-1),
                vocab_size=self.config.vocab_size,
            )
        return loss, logits


def build():
    config = SimpleNamespace(vocab_size=30, hidden_size=16, num_heads=4, patch=4, num_image_tokens=10)
    return GitForCausalLM(config)


def step(model):
    pixel_values = torch.randn(2, 3, 12, 12)
    input_ids = torch.randint(1, 30, (2, 10))
    loss, _ = model(input_ids, pixel_values, labels=input_ids)
    loss.backward()
    return loss.detach()


# position t is trained to predict t + 2, and the last target of a row comes from the next row; real fix: pass shift_labels
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['target', 'function:pad', 'function:__getitem__'], dim=None, got=None, wanted=None,
             hint_any=['shift', 'next', 'label', 'twice'])
MENDED = [("                labels.view(-1),\n", "                None,\n                shift_labels=labels.view(-1),\n")]
