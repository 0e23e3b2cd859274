import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/linkedin/Liger-Kernel/pull/269'
CATEGORY = 'silent'
DESCRIPTION = 'Each Medusa head is built from [ResBlock(hidden)] * num_layers: a list of references to one block, so its layers share weights.'


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(hidden)
        self.self_attn = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.post_attention_layernorm = nn.LayerNorm(hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.SiLU(), nn.Linear(2 * hidden, hidden))

    def forward(self, x):
        t = x.size(1)
        causal = torch.ones(t, t).triu(1).bool()
        y = self.input_layernorm(x)
        x = x + self.self_attn(y, y, y, attn_mask=causal, need_weights=False)[0]
        return x + self.mlp(self.post_attention_layernorm(x))


class BaseModel(nn.Module):
    def __init__(self, vocab, hidden, layers=2):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList([Block(hidden, 4) for _ in range(layers)])
        self.norm = nn.LayerNorm(hidden)

    def forward(self, input_ids):
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class ResBlock(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)
        nn.init.normal_(self.linear.weight, std=0.1)
        self.act = nn.SiLU()

    def forward(self, x):
        return x + self.act(self.linear(x))


class MedusaModel(nn.Module):
    def __init__(self, vocab=40, hidden=16, medusa_num_heads=3, medusa_num_layers=2):
        super().__init__()
        self.medusa_num_heads = medusa_num_heads
        self.model = BaseModel(vocab, hidden)
        self.lm_head = nn.Linear(hidden, vocab, bias=False)
        self.medusa_head = nn.ModuleList([
            nn.Sequential(
                *([ResBlock(hidden)] * medusa_num_layers),
                nn.Linear(hidden, vocab, bias=False),
            )
            for _ in range(medusa_num_heads)
        ])

    def forward(self, input_ids):
        with torch.no_grad():
            hidden_states = self.model(input_ids)
            base_logits = self.lm_head(hidden_states)
        return torch.stack([base_logits] + [head(hidden_states) for head in self.medusa_head], dim=0)


def medusa_loss(logits, labels, decay=0.8):
    loss = 0
    for i in range(1, logits.size(0)):
        head_logits = logits[i, :, :-(1 + i)].contiguous()
        head_labels = labels[:, 1 + i:].contiguous()
        loss = loss + decay ** i * F.cross_entropy(head_logits.view(-1, head_logits.size(-1)), head_labels.view(-1))
    return loss


def build():
    return MedusaModel()


def step(model):
    for p in list(model.model.parameters()) + list(model.lm_head.parameters()):
        p.requires_grad = False
    optimizer = torch.optim.AdamW(filter(lambda p: p.requires_grad, model.parameters()), lr=1e-3)
    input_ids = torch.randint(0, 40, (3, 12))
    for _ in range(2):
        loss = medusa_loss(model(input_ids), input_ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# real fix: [ResBlock(hidden) for _ in range(medusa_num_layers)]
TRUTH = dict(raises=None, at='module:medusa_head.0.0',
             culprits=['medusa_head', 'medusa_head.0', 'medusa_head.1', 'medusa_head.2', 'medusa_head.0.0', 'medusa_head.1.0', 'medusa_head.2.0',
                       'medusa_head.0.0.linear', 'medusa_head.1.0.linear', 'medusa_head.2.0.linear'],
             dim=None, got=None, wanted=None, hint_any=['share', 'same', 'twice', 'once'])
MENDED = [('*([ResBlock(hidden)] * medusa_num_layers)', '*[ResBlock(hidden) for _ in range(medusa_num_layers)]')]
