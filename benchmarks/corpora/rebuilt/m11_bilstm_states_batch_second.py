import types

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence

SOURCE = 'https://programmerah.com/runtimeerror-expected-hidden0-size-x-x-x-gotx-x-x-39265/'
CATEGORY = 'layer'
DESCRIPTION = 'Two-layer BiLSTM tagger on (B,T,E) sentences with given initial states (4,B,H): batch_first was never set, the LSTM takes 10 for the batch.'

config = types.SimpleNamespace(vocab=120, input_size=60, hidden_size=40, num_layers=2, drop_out=0.2, tags=7, batch_size=4, seq_len=10)


class CharFeatures(nn.Module):
    def __init__(self, chars=30, dim=12, out=20):
        super().__init__()
        self.emb = nn.Embedding(chars, dim, padding_idx=0)
        self.conv = nn.Conv1d(dim, out, 3, padding=1)

    def forward(self, chars):
        b, t, c = chars.shape
        x = self.emb(chars.view(b * t, c)).transpose(1, 2)
        return torch.relu(self.conv(x)).amax(2).view(b, t, -1)


class BiLSTMTagger(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_layers, self.hidden_size = config.num_layers, config.hidden_size
        self.word = nn.Embedding(config.vocab, config.input_size - 20, padding_idx=0)
        self.char = CharFeatures()
        self.drop = nn.Dropout(config.drop_out)
        self.bilstm = nn.LSTM(
            input_size=config.input_size,
            hidden_size=config.hidden_size,
            num_layers=config.num_layers,
            bidirectional=True,
            bias=True,
            dropout=config.drop_out)
        self.norm = nn.LayerNorm(2 * config.hidden_size)
        self.hidden2tag = nn.Linear(2 * config.hidden_size, config.tags)

    def init_state(self, batch):
        h0 = torch.zeros(2 * self.num_layers, batch, self.hidden_size)
        c0 = torch.zeros(2 * self.num_layers, batch, self.hidden_size)
        return h0, c0

    def forward(self, words, chars):
        x = self.drop(torch.cat([self.word(words), self.char(chars)], dim=-1))
        h0, c0 = self.init_state(words.size(0))
        output, (hn, cn) = self.bilstm(x, (h0, c0))
        return self.hidden2tag(self.norm(output))


def collate(batch):
    words, chars, tags = zip(*batch)
    return pad_sequence(words, batch_first=True), pad_sequence(chars, batch_first=True), pad_sequence(tags, batch_first=True, padding_value=-100)


def build():
    return BiLSTMTagger(config)


def step(model):
    lengths = [config.seq_len, 7, 9, 4]
    batch = [(torch.randint(1, config.vocab, (n,)), torch.randint(1, 30, (n, 8)), torch.randint(0, config.tags, (n,))) for n in lengths]
    words, chars, tags = collate(batch)
    scores = model(words, chars)
    return nn.CrossEntropyLoss(ignore_index=-100)(scores.view(-1, config.tags), tags.view(-1))


# real fix: batch_first=True
# offending tensor: x (4, 10, 60) read as time 4, batch 10; h0 (4, 4, 40)
TRUTH = dict(raises='RuntimeError', at='module:bilstm', culprits=['bilstm', 'function:zeros'], dim=1, got=4, wanted=10,
             hint_any=['batch_first', 'transpose', 'batch'])
MENDED = [('            bias=True,\n', '            bias=True,\n            batch_first=True,\n')]
