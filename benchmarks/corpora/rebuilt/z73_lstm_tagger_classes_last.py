import torch
import torch.nn as nn

SOURCE = 'https://duoke360.com/post/35135'
CATEGORY = 'loss'
DESCRIPTION = 'Character LSTM with 44 symbols, windows of 100: outputs (B, 100, 44) go into CrossEntropyLoss beside targets (B, 100) ("Expected target size (128, 44), got (128, 100)").'


class Lyrics:
    def __init__(self, n_chars=44, length=4200):
        g = torch.Generator().manual_seed(2)
        self.n_chars = n_chars
        self.data = torch.randint(0, n_chars, (length,), generator=g)

    def get_batches(self, n_seqs, n_steps):
        n_batches = (len(self.data) - 1) // (n_seqs * n_steps)
        x = self.data[:n_batches * n_seqs * n_steps].view(n_seqs, -1)
        y = self.data[1:n_batches * n_seqs * n_steps + 1].view(n_seqs, -1)
        for n in range(0, x.shape[1], n_steps):
            yield x[:, n:n + n_steps], y[:, n:n + n_steps]


class LSTMModel(nn.Module):
    def __init__(self, input_size, embed_size, hidden_size, num_layers):
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.embedding = nn.Embedding(input_size, embed_size)
        self.lstm = nn.LSTM(embed_size, hidden_size, num_layers, batch_first=True, dropout=0.2)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(hidden_size, input_size)

    def init_hidden(self, batch_size):
        return (torch.zeros(self.num_layers, batch_size, self.hidden_size),
                torch.zeros(self.num_layers, batch_size, self.hidden_size))

    def forward(self, x, hidden):
        emb = self.embedding(x)
        out, hidden = self.lstm(emb, hidden)
        out = self.fc(self.drop(out))
        return out, hidden


def train(model, corpus, criterion, batch_size, seq_len):
    hidden = model.init_hidden(batch_size)
    total, count = 0.0, 0
    for inputs, targets in corpus.get_batches(batch_size, seq_len):
        hidden = tuple(h.detach() for h in hidden)
        output, hidden = model(inputs, hidden)
        loss = criterion(output, targets)
        total, count = total + loss, count + 1
    return total / count


def build():
    torch.manual_seed(0)
    return LSTMModel(input_size=44, embed_size=20, hidden_size=20, num_layers=2)


def step(model):
    return train(model, Lyrics(), nn.CrossEntropyLoss(), batch_size=20, seq_len=100)


# real fix: criterion(output.transpose(1, 2), targets), or both flattened to (B * T, 44) and (B * T,)
# offending tensor: output (20, 100, 44)
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['fc', 'function:cross_entropy'], dim=1, got=100, wanted=44,
             hint_any=['transpose(1, 2)', 'permute(0, 2, 1)', 'view(-1', 'reshape(-1', 'flatten', 'transpose'])
MENDED = [('criterion(output, targets)', 'criterion(output.transpose(1, 2), targets)')]
