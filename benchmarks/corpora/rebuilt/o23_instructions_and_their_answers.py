import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/OpenRLHF/OpenRLHF/issues/362'
CATEGORY = 'correct'
DESCRIPTION = 'Supervised fine-tuning of a chat model: prompts do not count, the trainer hands logits and labels of the same length to its loss class.'

IGNORE_INDEX = -100


class GPTLMLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.loss = nn.CrossEntropyLoss(ignore_index=IGNORE_INDEX)

    def forward(self, logits, labels):
        shift_logits = logits[..., :-1, :].contiguous()
        shift_labels = labels[..., 1:].contiguous()
        return self.loss(shift_logits.view(-1, shift_logits.size(-1)), shift_labels.view(-1))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x, mask):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.norm2(x))


class Actor(nn.Module):
    def __init__(self, vocab=64, dim=32, heads=4, layers=2):
        super().__init__()
        self.embed, self.pos = nn.Embedding(vocab, dim), nn.Embedding(32, dim)
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(layers)])
        self.norm, self.lm_head = nn.LayerNorm(dim), nn.Linear(dim, vocab, bias=False)

    def forward(self, sequences, attention_mask):
        t = sequences.size(1)
        causal = torch.ones(t, t, dtype=torch.bool).tril()
        mask = causal & attention_mask.bool()[:, None, None, :]
        x = self.embed(sequences) + self.pos(torch.arange(t))
        for block in self.blocks:
            x = block(x, mask)
        return {'logits': self.lm_head(self.norm(x))}


def chats(n=4, length=16, pad=0):
    inputs = torch.randint(1, 64, (n, length))
    lengths = torch.randint(10, length + 1, (n, 1))
    attention_mask = (torch.arange(length) < lengths).long()
    return torch.randint(2, 7, (n,)).tolist(), inputs.masked_fill(attention_mask == 0, pad), attention_mask


def training_step(model, loss_fn, batch):
    prompts_id_lens, inputs, attention_mask = batch
    labels = torch.where(attention_mask.bool(), inputs, IGNORE_INDEX)
    for label, source_len in zip(labels, prompts_id_lens):
        label[:source_len] = IGNORE_INDEX
    output = model(inputs, attention_mask=attention_mask)
    return loss_fn(output['logits'], labels)


def build():
    return Actor()


def step(model):
    return training_step(model, GPTLMLoss(), chats())


# The labels are a copy of the inputs, but GPTLMLoss shifts them: every position answers for the next token.
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
