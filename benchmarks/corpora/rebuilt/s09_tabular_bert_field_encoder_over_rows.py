import torch
import torch.nn as nn
import torch.nn.functional as F
from types import SimpleNamespace

SOURCE = 'https://github.com/IBM/TabFormer/pull/14'
CATEGORY = 'silent'
DESCRIPTION = 'The field transformer is a TransformerEncoder without batch_first that is given (batch, fields, hidden): it attends over the batch.'


class TabFormerEmbeddings(nn.Module):
    """input (batch, seq_len, ncols) -> output (batch, seq_len, hidden_size)"""

    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.field_hidden_size, padding_idx=config.pad_token_id)
        encoder_layer = nn.TransformerEncoderLayer(d_model=config.field_hidden_size, nhead=config.nhead,
                                                   dim_feedforward=config.field_hidden_size)
        self.transformer_encoder = nn.TransformerEncoder(encoder_layer, num_layers=config.num_layers)
        self.lin_proj = nn.Linear(config.field_hidden_size * config.ncols, config.hidden_size)

    def forward(self, input_ids):
        inputs_embeds = self.word_embeddings(input_ids)
        embeds_shape = list(inputs_embeds.size())
        inputs_embeds = inputs_embeds.view([embeds_shape[0], -1, embeds_shape[-1]])
        inputs_embeds = self.transformer_encoder(inputs_embeds)
        return self.lin_proj(inputs_embeds.view(embeds_shape[:-2] + [-1]))


class BertEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        layer = nn.TransformerEncoderLayer(config.hidden_size, config.nhead, 2 * config.hidden_size, batch_first=True)
        self.position_embeddings = nn.Embedding(16, config.hidden_size)
        self.layers = nn.TransformerEncoder(layer, 1)

    def forward(self, x):
        pos = self.position_embeddings(torch.arange(x.size(1)))
        return self.layers(x + pos)


class TabFormerHierarchicalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.tab_embeddings = TabFormerEmbeddings(config)
        self.tb_model = BertEncoder(config)
        self.field_proj = nn.Linear(config.hidden_size, config.ncols * config.field_hidden_size)
        self.decoder = nn.Linear(config.field_hidden_size, config.vocab_size)

    def forward(self, input_ids, masked_lm_labels):
        hidden = self.tb_model(self.tab_embeddings(input_ids))
        b, t, _ = hidden.shape
        fields = self.field_proj(hidden).view(b, t * self.config.ncols, -1)
        scores = self.decoder(fields)
        return F.cross_entropy(scores.view(-1, self.config.vocab_size), masked_lm_labels.view(-1), ignore_index=-100)


class TransactionCollator:
    def __init__(self, mask_id, prob=0.3):
        self.mask_id, self.prob = mask_id, prob

    def __call__(self, rows):
        batch = torch.stack(rows)
        masked = torch.rand(batch.shape) < self.prob
        masked[:, 0, 0] = True
        labels = batch.masked_fill(~masked, -100)
        return batch.masked_fill(masked, self.mask_id), labels


def build():
    config = SimpleNamespace(vocab_size=40, pad_token_id=0, field_hidden_size=8, hidden_size=16, nhead=4, num_layers=1, ncols=4)
    return TabFormerHierarchicalLM(config)


def step(model):
    rows = [torch.randint(2, 40, (3, 4)) for _ in range(12)]
    input_ids, labels = TransactionCollator(mask_id=1)(rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    loss = model(input_ids, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: permute(1, 0, 2) before and after the encoder (or batch_first=True); 12 samples and 3 * 4 fields
TRUTH = dict(raises=None, at='module:tab_embeddings.transformer_encoder',
             culprits=['tab_embeddings.transformer_encoder', 'tab_embeddings.transformer_encoder.layers.0',
                       'tab_embeddings.transformer_encoder.layers.0.self_attn'],
             dim=0, got=12, wanted=None, hint_any=['batch_first', 'permute', 'transpose', 'batch'])
MENDED = [('inputs_embeds = self.transformer_encoder(inputs_embeds)',
           'inputs_embeds = self.transformer_encoder(inputs_embeds.permute(1, 0, 2)).permute(1, 0, 2).contiguous()')]
