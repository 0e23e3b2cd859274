import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/rasbt/machine-learning-book/issues/37'
CATEGORY = 'correct'
DESCRIPTION = 'Character model whose last layer is LogSoftmax, trained with CrossEntropyLoss: superfluous, but a log softmax of a log softmax changes nothing; the author shows the same loss.'

TEXT = ('the mysterious island by jules verne. are we rising again? no. on the contrary. are we descending? worse than that, '
        'captain! we are falling! for heaven s sake heave out the ballast! there! the last sack is empty! ')


class TextDataset(Dataset):
    def __init__(self, text, seq_length):
        self.chars = sorted(set(text))
        char2int = {ch: i for i, ch in enumerate(self.chars)}
        encoded = torch.tensor([char2int[ch] for ch in text])
        chunk_size = seq_length + 1
        self.text_chunks = [encoded[i:i + chunk_size] for i in range(len(encoded) - chunk_size + 1)]

    def __len__(self):
        return len(self.text_chunks)

    def __getitem__(self, idx):
        text_chunk = self.text_chunks[idx]
        return text_chunk[:-1], text_chunk[1:]


class RNN(nn.Module):
    def __init__(self, vocab_size, embed_dim, rnn_hidden_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.rnn_hidden_size = rnn_hidden_size
        self.rnn = nn.LSTM(embed_dim, rnn_hidden_size, batch_first=True)
        self.fc = nn.Linear(rnn_hidden_size, vocab_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, x, hidden, cell):
        out = self.embedding(x).unsqueeze(1)
        out, (hidden, cell) = self.rnn(out, (hidden, cell))
        out = self.fc(out).reshape(out.size(0), -1)
        out = self.softmax(out)
        return out, hidden, cell

    def init_hidden(self, batch_size):
        hidden = torch.zeros(1, batch_size, self.rnn_hidden_size)
        cell = torch.zeros(1, batch_size, self.rnn_hidden_size)
        return hidden, cell


seq_length, batch_size = 10, 16
seq_dataset = TextDataset(TEXT, seq_length)


def build():
    return RNN(vocab_size=len(seq_dataset.chars), embed_dim=16, rnn_hidden_size=32)


def step(model):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    seq_dl = DataLoader(seq_dataset, batch_size=batch_size, shuffle=True, drop_last=True)
    hidden, cell = model.init_hidden(batch_size)
    seq_batch, target_batch = next(iter(seq_dl))
    optimizer.zero_grad()
    loss = 0
    for c in range(seq_length):
        pred, hidden, cell = model(seq_batch[:, c], hidden, cell)
        loss += loss_fn(pred, target_batch[:, c])
    loss.backward()
    optimizer.step()
    return loss.detach() / seq_length


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
