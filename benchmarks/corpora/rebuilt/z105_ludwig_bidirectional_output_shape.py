import torch
import torch.nn as nn
import torch.nn.functional as F
SOURCE = 'https://github.com/ludwig-ai/ludwig/issues/1735'
CATEGORY = 'layer'
DESCRIPTION = 'The output shape that the recurrent encoder tells the combiner forgets the second direction'

class RecurrentStack(nn.Module):
    def __init__(self, input_size, hidden_size, bidirectional):
        super().__init__()
        self.rnn = nn.GRU(input_size, hidden_size, batch_first=True, bidirectional=bidirectional)
        self.hidden_size = hidden_size

    @property
    def output_shape(self):
        return self.hidden_size

    def forward(self, x):
        out, _ = self.rnn(x)
        return out[:, -1]

class CharEncoder(nn.Module):
    def __init__(self, vocab, emb, hidden, bidirectional=False):
        super().__init__()
        self.embed = nn.Embedding(vocab, emb)
        self.recurrent_stack = RecurrentStack(emb, hidden, bidirectional)

    @property
    def output_shape(self):
        return self.recurrent_stack.output_shape

    def forward(self, ids):
        return self.recurrent_stack(self.embed(ids))

class WordEncoder(nn.Module):
    def __init__(self, vocab, emb, filters):
        super().__init__()
        self.embed = nn.Embedding(vocab, emb)
        self.convs = nn.ModuleList([nn.Conv1d(emb, filters, k, padding=1) for k in (2, 3)])
        self.output_shape = 2 * filters

    def forward(self, ids):
        x = self.embed(ids).transpose(1, 2)
        return torch.cat([F.relu(conv(x)).amax(2) for conv in self.convs], dim=1)

class ECD(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoders = nn.ModuleDict({'content': WordEncoder(200, 16, 12), 'sender': CharEncoder(60, 8, 20, bidirectional=True)})
        self.regressor = nn.Linear(sum(e.output_shape for e in self.encoders.values()) + 5, 1)

    def forward(self, batch):
        parts = [encoder(batch[name]) for name, encoder in self.encoders.items()]
        return self.regressor(torch.cat(parts + [batch['numbers']], dim=-1)).squeeze(-1)

def build():
    torch.manual_seed(0)
    return ECD()

def step(model):
    batch = dict(content=torch.randint(0, 200, (16, 30)), sender=torch.randint(0, 60, (16, 18)), numbers=torch.rand(16, 5))
    return F.binary_cross_entropy_with_logits(model(batch), torch.randint(0, 2, (16,)).float())

TRUTH = dict(raises='RuntimeError', at='module:regressor', culprits=['regressor', 'encoders.sender.recurrent_stack.rnn', 'encoders.sender.recurrent_stack', 'encoders.sender'], dim=1, got=69, wanted=49, hint_any=['69'])
MENDED = [('    def output_shape(self):\n        return self.hidden_size', '    def output_shape(self):\n        return self.hidden_size * (2 if self.rnn.bidirectional else 1)')]
