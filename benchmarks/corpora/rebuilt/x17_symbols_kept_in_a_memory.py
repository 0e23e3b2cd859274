import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ixaxaar/pytorch-dnc/issues/56 (repaired in pull request 57; a memory without links or usage here)'
CATEGORY = 'silent'
DESCRIPTION = 'Copying of symbols with an outer memory: a controller writes and reads by the likeness of a key to the rows of the memory.'

delta = 1e-6


def theta(a, b, normBy=2):
    """Batchwise cosine similarity: (b, m, w) and (b, r, w) give (b, r, m)"""
    a_norm = torch.norm(a, normBy, 2, keepdim=True).expand_as(a) + delta
    b_norm = torch.norm(b, normBy, 2, keepdim=True).expand_as(b) + delta
    return torch.bmm(a, b.transpose(1, 2)).transpose(1, 2) / (
        torch.bmm(a_norm, b_norm.transpose(1, 2)).transpose(1, 2) + delta)


class Memory(nn.Module):
    def __init__(self, input_size, mem_size=16, cell_size=12, read_heads=2):
        super().__init__()
        self.mem_size, self.cell_size, self.read_heads = mem_size, cell_size, read_heads
        w, r = cell_size, read_heads
        self.read_keys_transform = nn.Linear(input_size, w * r)
        self.read_strengths_transform = nn.Linear(input_size, r)
        self.write_key_transform = nn.Linear(input_size, w)
        self.write_strength_transform = nn.Linear(input_size, 1)
        self.erase_vector_transform = nn.Linear(input_size, w)
        self.write_vector_transform = nn.Linear(input_size, w)
        self.start = nn.Parameter(torch.randn(mem_size, w) * 0.5)

    def reset(self, batch_size):
        return self.start.expand(batch_size, -1, -1)

    def content_weightings(self, memory, keys, strengths):
        d = theta(memory, keys)
        return F.softmax(d * strengths.unsqueeze(2), dim=2)

    def forward(self, xi, memory):
        b, w, r = xi.size(0), self.cell_size, self.read_heads
        write_key = torch.tanh(self.write_key_transform(xi)).view(b, 1, w)
        write_strength = 1 + F.softplus(self.write_strength_transform(xi)).view(b, 1)
        write_weights = self.content_weightings(memory, write_key, write_strength)
        erase = torch.sigmoid(self.erase_vector_transform(xi)).view(b, 1, w)
        vector = torch.tanh(self.write_vector_transform(xi)).view(b, 1, w)
        memory = memory * (1 - torch.bmm(write_weights.transpose(1, 2), erase))
        memory = memory + torch.bmm(write_weights.transpose(1, 2), vector)
        read_keys = torch.tanh(self.read_keys_transform(xi)).view(b, r, w)
        read_strengths = 1 + F.softplus(self.read_strengths_transform(xi)).view(b, r)
        read_weights = self.content_weightings(memory, read_keys, read_strengths)
        return torch.bmm(read_weights, memory).flatten(1), memory


class DNC(nn.Module):
    def __init__(self, symbols=8, hidden=24):
        super().__init__()
        self.hidden = hidden
        self.memory = Memory(hidden)
        self.read_size = self.memory.read_heads * self.memory.cell_size
        self.rnn = nn.LSTMCell(symbols + 1 + self.read_size, hidden)
        self.output = nn.Linear(hidden + self.read_size, symbols)

    def forward(self, x):
        b = x.size(0)
        h = c = x.new_zeros(b, self.hidden)
        read, mem = x.new_zeros(b, self.read_size), self.memory.reset(b)
        outputs = []
        for t in range(x.size(1)):
            h, c = self.rnn(torch.cat([x[:, t], read], dim=1), (h, c))
            read, mem = self.memory(h, mem)
            outputs.append(self.output(torch.cat([h, read], dim=1)))
        return torch.stack(outputs, dim=1)


def copy_task(batch=8, length=5, symbols=8):
    seq = torch.randint(0, symbols, (batch, length))
    x = torch.zeros(batch, 2 * length, symbols + 1)
    x[:, :length, :symbols] = F.one_hot(seq, symbols).float()
    x[:, length:, symbols] = 1
    return x, seq


def build():
    return DNC()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        x, seq = copy_task()
        out = model(x)[:, seq.size(1):]
        loss = F.cross_entropy(out.reshape(-1, 8), seq.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
    return loss.detach()


# the norms are expanded to the width of a cell and then multiplied as matrices, which adds the same product up w = 12
# times: the similarity is twelve times too small; real fix: (b, m, 1) and (b, 1, r)
TRUTH = dict(raises=None, at='function:bmm', culprits=['function:expand_as', 'function:bmm'], dim=2, got=12, wanted=1,
             hint_any=['expand', '12', 'width', 'sum', 'norm', 'scale'])
MENDED = [('keepdim=True).expand_as(a) + delta', 'keepdim=True) + delta'),
          ('keepdim=True).expand_as(b) + delta', 'keepdim=True) + delta')]
