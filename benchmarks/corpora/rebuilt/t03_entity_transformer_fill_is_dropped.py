import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/opendilab/DI-engine/issues/333'
CATEGORY = 'silent'
DESCRIPTION = 'Entity transformer of a value network with a boolean entity mask.'


def fc_block(i, o, activation=None):
    return nn.Sequential(nn.Linear(i, o), activation) if activation is not None else nn.Sequential(nn.Linear(i, o))


class Attention(nn.Module):
    def __init__(self, input_dim, head_dim, output_dim, head_num, dropout):
        super().__init__()
        self.head_num, self.head_dim, self.dropout = head_num, head_dim, dropout
        self.attention_pre = fc_block(input_dim, head_dim * head_num * 3)
        self.project = fc_block(head_dim * head_num, output_dim)

    def split(self, x, T=False):
        B, N = x.shape[:2]
        x = x.view(B, N, self.head_num, self.head_dim).permute(0, 2, 1, 3).contiguous()
        return x.permute(0, 1, 3, 2).contiguous() if T else x

    def forward(self, x, mask=None):
        B, N = x.shape[:2]
        query, key, value = torch.chunk(self.attention_pre(x), 3, dim=2)
        query, key, value = self.split(query), self.split(key, T=True), self.split(value)
        score = torch.matmul(query, key) / math.sqrt(self.head_dim)
        if mask is not None:
            score.masked_fill(~mask, value=-1e9)
        score = self.dropout(F.softmax(score, dim=-1))
        attention = torch.matmul(score, value).permute(0, 2, 1, 3).contiguous()
        return self.project(attention.view(B, N, -1))


class TransformerLayer(nn.Module):
    def __init__(self, input_dim, head_dim, hidden_dim, output_dim, head_num, dropout, activation):
        super().__init__()
        self.attention = Attention(input_dim, head_dim, output_dim, head_num, dropout)
        self.layernorm1 = nn.LayerNorm(output_dim)
        self.mlp = nn.Sequential(fc_block(output_dim, hidden_dim, activation), fc_block(hidden_dim, output_dim))
        self.layernorm2 = nn.LayerNorm(output_dim)
        self.dropout = dropout

    def forward(self, inputs):
        x, mask = inputs
        x = self.layernorm1(x + self.dropout(self.attention(x, mask)))
        x = self.layernorm2(x + self.dropout(self.mlp(x)))
        return x, mask


class Transformer(nn.Module):
    def __init__(self, input_dim, head_dim=8, hidden_dim=32, output_dim=16, head_num=2, layer_num=2):
        super().__init__()
        act = nn.ReLU()
        self.embedding = fc_block(input_dim, output_dim, act)
        dropout = nn.Dropout(0.0)
        self.main = nn.Sequential(*[TransformerLayer(output_dim, head_dim, hidden_dim, output_dim, head_num, dropout, act)
                                    for _ in range(layer_num)])

    def forward(self, x, mask=None):
        if mask is not None:
            mask = mask.unsqueeze(dim=1).repeat(1, mask.shape[1], 1).unsqueeze(dim=1)
        x, mask = self.main((self.embedding(x), mask))
        return x


class ValueNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Transformer(11)
        self.value = fc_block(16, 1)

    def forward(self, entities, entity_mask):
        x = self.encoder(entities, entity_mask)
        weight = entity_mask.float().unsqueeze(-1)
        pooled = (x * weight).sum(1) / weight.sum(1)
        return self.value(pooled).squeeze(-1)


def build():
    return ValueNet()


def step(model):
    entity_num = torch.tensor([7, 3, 5, 2, 7, 4])
    entities = torch.randn(6, 7, 11) * 3
    entity_mask = torch.arange(7).unsqueeze(0) < entity_num.unsqueeze(1)
    returns = torch.randn(6)
    opt = torch.optim.Adam(model.parameters(), lr=3e-4)
    loss = F.smooth_l1_loss(model(entities, entity_mask), returns)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach()


# masked_fill returns a new tensor that nobody keeps: absent entities stay in the attention; fix: masked_fill_
TRUTH = dict(raises=None, at='function:masked_fill', culprits=['function:masked_fill'], dim=None, got=None, wanted=None,
             hint_any=['masked_fill_', 'in place', 'in-place', 'result', 'unused', 'discard'])
MENDED = [('score.masked_fill(~mask, value=-1e9)', 'score = score.masked_fill(~mask, value=-1e9)')]
