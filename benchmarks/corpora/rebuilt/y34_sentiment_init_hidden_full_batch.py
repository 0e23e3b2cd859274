import torch
import torch.nn as nn
from torch.utils.data import TensorDataset, DataLoader

SOURCE = 'https://github.com/udacity/deep-learning-v2-pytorch/pull/398'
CATEGORY = 'layer'
DESCRIPTION = 'SentimentRNN: the hidden state is made for batch_size, the last batch of the loader (no drop_last) is smaller: Expected hidden[0] size (2, 4, h), got [2, 8, h].'


class SentimentRNN(nn.Module):
    def __init__(self, vocab_size, output_size, embedding_dim, hidden_dim, n_layers, drop_prob=0.5):
        super().__init__()
        self.output_size, self.n_layers, self.hidden_dim = output_size, n_layers, hidden_dim
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, n_layers, dropout=drop_prob, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(hidden_dim, output_size)
        self.sig = nn.Sigmoid()

    def forward(self, x, hidden):
        batch_size = x.size(0)
        embeds = self.embedding(x)
        lstm_out, hidden = self.lstm(embeds, hidden)
        lstm_out = lstm_out.contiguous().view(-1, self.hidden_dim)
        out = self.fc(self.dropout(lstm_out))
        sig_out = self.sig(out).view(batch_size, -1)
        return sig_out[:, -1], hidden

    def init_hidden(self, batch_size):
        weight = next(self.parameters()).data
        return (weight.new_zeros(self.n_layers, batch_size, self.hidden_dim),
                weight.new_zeros(self.n_layers, batch_size, self.hidden_dim))


def build():
    return SentimentRNN(vocab_size=75, output_size=1, embedding_dim=20, hidden_dim=24, n_layers=2)


def step(model):
    batch_size = 8
    train_data = TensorDataset(torch.randint(0, 75, (20, 15)), torch.randint(0, 2, (20,)))
    train_loader = DataLoader(train_data, shuffle=True, batch_size=batch_size)
    criterion = nn.BCELoss()
    h = model.init_hidden(batch_size)
    total = 0
    for inputs, labels in train_loader:
        h = tuple([each.data for each in h])
        output, h = model(inputs, h)
        total = total + criterion(output.squeeze(), labels.float())
    return total


# real fix: drop_last=True in the loader
TRUTH = dict(raises='RuntimeError', at='module:lstm', culprits=['input', 'function:new_zeros'], dim=0, got=4, wanted=8,
             hint_any=['drop_last', 'batch', 'last'])
MENDED = [('shuffle=True, batch_size=batch_size)', 'shuffle=True, batch_size=batch_size, drop_last=True)')]
