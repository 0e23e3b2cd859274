import math

import torch
import torch.nn as nn

SOURCE = 'https://openillumi.com/?p=87900'
CATEGORY = 'layer'
DESCRIPTION = "Own language model on nn.TransformerDecoder: the tokenizer's attention_mask (B,T) is given as tgt_mask, which has to be (T,T)."


class FakeTokenizer:
    pad_token_id, vocab_size, model_max_length = 0, 130, 48

    def __call__(self, texts, padding='max_length', truncation=True):
        ids = [[2 + sum(map(ord, w)) % 128 for w in t.split()][:self.model_max_length] for t in texts]
        input_ids = torch.tensor([i + [self.pad_token_id] * (self.model_max_length - len(i)) for i in ids])
        return {'input_ids': input_ids, 'attention_mask': (input_ids != self.pad_token_id).long()}


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=512):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, d_model)
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        self.register_buffer('pe', pe.unsqueeze(0))

    def forward(self, x):
        return self.dropout(x + self.pe[:, :x.size(1)])


class TransformerLM(nn.Module):
    def __init__(self, vocab_size, d_model=48, nhead=4, num_layers=2, dim_feedforward=96, dropout=0.1):
        super().__init__()
        self.d_model = d_model
        self.embedding = nn.Embedding(vocab_size, d_model, padding_idx=0)
        self.pos_encoder = PositionalEncoding(d_model, dropout)
        layer = nn.TransformerDecoderLayer(d_model, nhead, dim_feedforward, dropout, activation='gelu', batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, num_layers, norm=nn.LayerNorm(d_model))
        self.memory = nn.Parameter(torch.zeros(1, 1, d_model))
        self.fc_out = nn.Linear(d_model, vocab_size)
        self.init_weights()

    def init_weights(self):
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.zeros_(self.fc_out.bias)

    def forward(self, input_ids, attention_mask=None):
        x = self.embedding(input_ids) * math.sqrt(self.d_model)
        x = self.pos_encoder(x)
        memory = self.memory.expand(x.size(0), -1, -1)
        mask = attention_mask == 0
        x = self.decoder(x, memory, tgt_mask=mask)
        return self.fc_out(x)


class Trainer:
    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.criterion = nn.CrossEntropyLoss(ignore_index=tokenizer.pad_token_id)

    def training_step(self, texts):
        enc = self.tokenizer(texts)
        labels = enc['input_ids'].roll(-1, dims=1)
        labels[:, -1] = self.tokenizer.pad_token_id
        logits = self.model(enc['input_ids'], enc['attention_mask'])
        return self.criterion(logits.view(-1, logits.size(-1)), labels.view(-1))


def build():
    return TransformerLM(FakeTokenizer.vocab_size)


def step(model):
    trainer = Trainer(model, FakeTokenizer())
    texts = ['the model is trained on short texts ' * 3, 'a second one', 'padding follows after this one here', 'what is a mask ' * 5]
    return trainer.training_step(texts)


# real fix: the padding mask is tgt_key_padding_mask; tgt_mask is the causal (T, T)
# offending tensor: tgt_mask (4, 48) where (48, 48) is needed
TRUTH = dict(raises='RuntimeError', at='module:decoder.layers.0.self_attn', culprits=['input', '', 'function:eq', 'decoder'], dim=0, got=4, wanted=48,
             hint_any=['key_padding_mask', 'padding', 'tgt_mask', 'attn_mask'])
MENDED = [('tgt_mask=mask)', 'tgt_mask=torch.triu(torch.ones(x.size(1), x.size(1)), 1).bool(), tgt_key_padding_mask=mask)')]
