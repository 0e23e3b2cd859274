import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/exe1023/LSTM_LN/issues/1'
CATEGORY = 'layer'
DESCRIPTION = 'Somebody\'s own LSTM with layer normalization: one layer works with batch_first=True, two do not.'


class LayerNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(1, hidden_size))
        self.beta = nn.Parameter(torch.zeros(1, hidden_size))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        std = x.std(1, keepdim=True)
        return self.gamma * (x - mean) / (std + self.eps) + self.beta


class LSTMCell(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size, 4 * hidden_size)
        self.h2h = nn.Linear(hidden_size, 4 * hidden_size)
        self.ln = LayerNorm(hidden_size)

    def forward(self, x, hidden):
        h, c = hidden
        i2h = self.i2h(x)
        h2h = self.h2h(h)
        preact = i2h + h2h
        gates = preact[:, :3 * self.hidden_size].sigmoid()
        g_t = preact[:, 3 * self.hidden_size:].tanh()
        i_t, f_t, o_t = gates.chunk(3, dim=1)
        c_t = f_t * c + i_t * g_t
        h_t = o_t * self.ln(c_t).tanh()
        return h_t, (h_t, c_t)


class LSTM(nn.Module):
    def __init__(self, input_size, hidden_size, num_layers=1, batch_first=False, dropout=0.):
        super().__init__()
        self.hidden_size, self.num_layers, self.batch_first, self.dropout = hidden_size, num_layers, batch_first, dropout
        self.layers = nn.ModuleList([LSTMCell(input_size if l == 0 else hidden_size, hidden_size) for l in range(num_layers)])

    def init_hidden(self, batch):
        return [(torch.zeros(batch, self.hidden_size), torch.zeros(batch, self.hidden_size)) for _ in range(self.num_layers)]

    def layer_forward(self, l, xs, h):
        if self.batch_first:
            xs = xs.permute(1, 0, 2)
        ys = []
        for x in xs:
            y, h = l(x, h)
            ys.append(y)
        return torch.stack(ys), h

    def forward(self, x, hiddens):
        new_hs = []
        for l, h in zip(self.layers, hiddens):
            x, new_h = self.layer_forward(l, x, h)
            x = F.dropout(x, self.dropout, self.training)
            new_hs.append(new_h)
        if self.batch_first:
            x = x.permute(1, 0, 2)
        return x, new_hs


class SensorClassifier(nn.Module):
    def __init__(self, sensors=12, hidden=16, classes=4):
        super().__init__()
        self.rnn = LSTM(sensors, hidden, num_layers=2, batch_first=True, dropout=0.1)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x):
        out, _ = self.rnn(x, self.rnn.init_hidden(x.size(0)))
        return self.fc(out[:, -1])


def build():
    return SensorClassifier()


def step(model):
    signals, labels = torch.randn(8, 12, 12), torch.randint(0, 4, (8,))
    return F.cross_entropy(model(signals), labels)


# real fix: give batch first back at the end of layer_forward instead of at the end of forward (the second layer takes (time, batch) for (batch, time))
# offending tensor: i2h of the second layer (12, 64) against h2h (8, 64)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:stack', 'function:permute', 'rnn'], dim=0, got=12, wanted=8,
             hint_any=['batch_first', 'permute', 'time', 'second layer', 'transpos'])
MENDED = [('return torch.stack(ys), h', 'return torch.stack(ys, 1 if self.batch_first else 0), h'),
          ('        if self.batch_first:\n            x = x.permute(1, 0, 2)\n        return x, new_hs', '        return x, new_hs')]
