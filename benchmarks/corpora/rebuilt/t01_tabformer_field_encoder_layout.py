import types

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/IBM/TabFormer/pull/14'
CATEGORY = 'silent'
DESCRIPTION = 'Hierarchical tabular transformer: (rows, columns, hidden) field embeddings go into an nn.TransformerEncoder that takes the sequence first.'


class TabFormerEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.field_hidden_size, padding_idx=0)
        layer = nn.TransformerEncoderLayer(d_model=config.field_hidden_size, nhead=config.nhead,
                                           dim_feedforward=config.field_hidden_size, dropout=0.0)
        self.transformer_encoder = nn.TransformerEncoder(layer, num_layers=config.num_layers)
        self.lin_proj = nn.Linear(config.field_hidden_size * config.ncols, config.hidden_size)

    def forward(self, input_ids):
        inputs_embeds = self.word_embeddings(input_ids)
        shape = list(inputs_embeds.size())
        inputs_embeds = inputs_embeds.view([-1] + shape[-2:])
        inputs_embeds = self.transformer_encoder(inputs_embeds)
        inputs_embeds = inputs_embeds.contiguous().view(shape[0], shape[1], -1)
        return self.lin_proj(inputs_embeds)


class RowModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.rnn = nn.GRU(config.hidden_size, config.hidden_size, batch_first=True)
        self.cls = nn.Linear(config.hidden_size, config.ncols * config.vocab_size)

    def forward(self, rows):
        hidden, _ = self.rnn(rows)
        b, t, _ = hidden.shape
        return self.cls(hidden).view(b, t, self.config.ncols, self.config.vocab_size)


class TabFormerHierarchicalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.tab_embeddings = TabFormerEmbeddings(config)
        self.tb_model = RowModel(config)

    def forward(self, input_ids, masked_lm_labels):
        scores = self.tb_model(self.tab_embeddings(input_ids))
        return F.cross_entropy(scores.reshape(-1, self.config.vocab_size), masked_lm_labels.reshape(-1),
                               ignore_index=-100)


def mask_tokens(inputs, mask_id, p=0.15):
    labels = inputs.clone()
    picked = torch.rand(inputs.shape) < p
    picked[0, 0, 0] = True
    labels[~picked] = -100
    return inputs.masked_fill(picked, mask_id), labels


def build():
    config = types.SimpleNamespace(vocab_size=60, ncols=12, field_hidden_size=16, hidden_size=24, nhead=4, num_layers=2)
    return TabFormerHierarchicalLM(config)


def step(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    transactions = torch.randint(2, 60, (6, 10, 12))           # users, window of transactions, columns
    input_ids, labels = mask_tokens(transactions, mask_id=1)
    model.train()
    loss = model(input_ids, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# nn.TransformerEncoder without batch_first reads (60 rows, 12 columns, 16) as (sequence 60, batch 12): attention
# runs over unrelated transactions of the same column; fix: permute before and after (or batch_first=True)
TRUTH = dict(raises=None, at='module:tab_embeddings.transformer_encoder',
             culprits=['tab_embeddings.transformer_encoder', 'tab_embeddings.transformer_encoder.layers.0',
                       'tab_embeddings.transformer_encoder.layers.1',
                       'tab_embeddings.transformer_encoder.layers.0.self_attn',
                       'tab_embeddings.transformer_encoder.layers.1.self_attn'],
             dim=0, got=60, wanted=12, hint_any=['batch_first', 'permute', 'transpose', 'sequence'])
MENDED = [('self.transformer_encoder(inputs_embeds)\n', 'self.transformer_encoder(inputs_embeds.permute(1, 0, 2)).permute(1, 0, 2)\n')]
