import torch
import torch.nn as nn
import torch.nn.functional as F
from types import SimpleNamespace

SOURCE = 'https://github.com/huggingface/transformers/blob/main/src/transformers/models/albert/modeling_albert.py'
CATEGORY = 'correct'
DESCRIPTION = 'ALBERT runs one group of layers num_hidden_layers times and ties the decoder to the factorized embedding, as intended.'


class AlbertLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.attention_norm = nn.LayerNorm(config.hidden_size)
        self.ffn = nn.Linear(config.hidden_size, config.intermediate_size)
        self.ffn_output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.full_layer_layer_norm = nn.LayerNorm(config.hidden_size)

    def forward(self, hidden_states, padding):
        attended = self.attention(hidden_states, hidden_states, hidden_states, key_padding_mask=padding, need_weights=False)[0]
        attended = self.attention_norm(hidden_states + attended)
        return self.full_layer_layer_norm(self.ffn_output(F.gelu(self.ffn(attended))) + attended)


class AlbertLayerGroup(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.albert_layers = nn.ModuleList([AlbertLayer(config) for _ in range(config.inner_group_num)])

    def forward(self, hidden_states, padding):
        for layer in self.albert_layers:
            hidden_states = layer(hidden_states, padding)
        return hidden_states


class AlbertTransformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding_hidden_mapping_in = nn.Linear(config.embedding_size, config.hidden_size)
        self.albert_layer_groups = nn.ModuleList([AlbertLayerGroup(config) for _ in range(config.num_hidden_groups)])

    def forward(self, hidden_states, padding):
        hidden_states = self.embedding_hidden_mapping_in(hidden_states)
        for i in range(self.config.num_hidden_layers):
            group_idx = int(i / (self.config.num_hidden_layers / self.config.num_hidden_groups))
            hidden_states = self.albert_layer_groups[group_idx](hidden_states, padding)
        return hidden_states


class AlbertForPreTraining(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=0)
        self.position_embeddings = nn.Embedding(32, config.embedding_size)
        self.encoder = AlbertTransformer(config)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.LayerNorm = nn.LayerNorm(config.embedding_size)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size)
        self.decoder.weight = self.word_embeddings.weight
        self.sop_classifier = nn.Linear(config.hidden_size, 2)

    def forward(self, input_ids, labels, sentence_order_label):
        x = self.word_embeddings(input_ids) + self.position_embeddings(torch.arange(input_ids.size(1)))
        sequence_output = self.encoder(x, input_ids == 0)
        pooled = torch.tanh(self.pooler(sequence_output[:, 0]))
        scores = self.decoder(self.LayerNorm(F.gelu(self.dense(sequence_output))))
        masked_lm_loss = F.cross_entropy(scores.view(-1, scores.size(-1)), labels.view(-1))
        return masked_lm_loss + F.cross_entropy(self.sop_classifier(pooled), sentence_order_label)


def build():
    return AlbertForPreTraining(SimpleNamespace(vocab_size=50, embedding_size=8, hidden_size=16, num_attention_heads=4, intermediate_size=32,
                                                num_hidden_layers=6, num_hidden_groups=1, inner_group_num=1))


def step(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ids = torch.randint(2, 50, (4, 11))
    ids[1, 8:] = 0
    labels = torch.where((torch.rand(4, 11) < 0.3) & (ids != 0), ids, -100)
    labels[:, 1] = ids[:, 1]
    loss = model(ids.masked_fill(labels != -100, 1), labels, torch.randint(0, 2, (4,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
