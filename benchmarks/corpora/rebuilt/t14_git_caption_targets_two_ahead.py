import types

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/issues/47394'
CATEGORY = 'silent'
DESCRIPTION = 'GIT image-to-text: image tokens before the text, next-token loss through the shared causal-LM loss function.'


def causal_lm_loss(logits, labels, vocab_size, ignore_index=-100, shift_labels=None):
    logits = logits.float()
    if shift_labels is None:
        labels = F.pad(labels, (0, 1), value=ignore_index)
        shift_labels = labels[..., 1:].contiguous()
    logits = logits.view(-1, vocab_size)
    return F.cross_entropy(logits, shift_labels.view(-1), ignore_index=ignore_index)


class GitVisionModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size)
        self.class_embedding = nn.Parameter(torch.randn(config.hidden_size))

    def forward(self, pixel_values):
        patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        cls = self.class_embedding.expand(patches.size(0), 1, -1)
        return torch.cat([cls, patches], dim=1)


class GitLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(config.hidden_size), nn.LayerNorm(config.hidden_size)
        self.mlp = nn.Sequential(nn.Linear(config.hidden_size, 48), nn.GELU(), nn.Linear(48, config.hidden_size))

    def forward(self, x, mask):
        y = self.ln_1(x)
        x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class GitModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(32, config.hidden_size)
        self.image_encoder = GitVisionModel(config)
        self.visual_projection = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer = nn.ModuleList([GitLayer(config) for _ in range(2)])

    def forward(self, input_ids, pixel_values):
        visual = self.visual_projection(self.image_encoder(pixel_values))
        text = self.embeddings(input_ids) + self.position_embeddings.weight[:input_ids.size(1)]
        n, t = visual.size(1), text.size(1)
        mask = torch.zeros(n + t, n + t, dtype=torch.bool)
        mask[:n, n:] = True
        mask[n:, n:] = torch.triu(torch.ones(t, t, dtype=torch.bool), 1)
        hidden = torch.cat([visual, text], dim=1)
        for layer in self.layer:
            hidden = layer(hidden, mask)
        return hidden


class GitForCausalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.git = GitModel(config)
        self.output = nn.Linear(config.hidden_size, config.vocab_size)
        self.loss_function = causal_lm_loss

    def forward(self, input_ids, pixel_values, labels=None):
        logits = self.output(self.git(input_ids, pixel_values))
        loss = None
        if labels is not None:
            num_image_tokens = self.config.image_tokens
            shifted_logits = logits[:, num_image_tokens:-1, :].contiguous()
            labels = labels[:, 1:].contiguous()
            loss = self.loss_function(shifted_logits.view(-1, self.config.vocab_size), labels.view(-1),
                                      vocab_size=self.config.vocab_size)
        return loss, logits


def build():
    config = types.SimpleNamespace(vocab_size=50, hidden_size=24, num_attention_heads=4, patch_size=8, image_tokens=5)
    return GitForCausalLM(config)


def step(model):
    opt = torch.optim.AdamW(model.parameters(), lr=5e-5)
    input_ids, pixel_values = torch.randint(0, 50, (4, 10)), torch.rand(4, 3, 16, 16)
    loss, _ = model(input_ids, pixel_values, labels=input_ids)
    loss.backward()
    opt.step()
    opt.zero_grad()
    return loss.detach()


# labels are shifted by hand and once more inside the loss function, over the flattened batch: position t learns token
# t + 2 and the last one of a row learns the next row's; fix: shift_labels=labels (or the unshifted ones)
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['target', 'function:pad', 'function:getitem', 'function:__getitem__', 'function:cross_entropy'],
             dim=None, got=None, wanted=None, hint_any=['shift', 'twice', 'label', 'next'])
MENDED = [('labels.view(-1),\n', 'None, shift_labels=labels.view(-1),\n')]
