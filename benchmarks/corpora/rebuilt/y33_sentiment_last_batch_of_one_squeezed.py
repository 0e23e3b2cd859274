import torch
import torch.nn as nn

SOURCE = 'https://github.com/bentrevett/pytorch-sentiment-analysis/issues/17'
CATEGORY = 'layer'
DESCRIPTION = 'Sentiment BiLSTM: the last batch holds one review; hidden.squeeze(0) drops the batch dimension and squeeze(1) of the prediction is out of range.'


class RNN(nn.Module):
    def __init__(self, vocab_size, embedding_dim, hidden_dim, output_dim, n_layers, bidirectional, dropout):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.rnn = nn.LSTM(embedding_dim, hidden_dim, num_layers=n_layers, bidirectional=bidirectional, dropout=dropout)
        self.fc = nn.Linear(hidden_dim * 2, output_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        embedded = self.dropout(self.embedding(x))
        output, (hidden, cell) = self.rnn(embedded)
        hidden = self.dropout(torch.cat((hidden[-2, :, :], hidden[-1, :, :]), dim=1))
        return self.fc(hidden.squeeze(0))


class BucketIterator:
    def __init__(self, examples, batch_size):
        self.examples, self.batch_size = examples, batch_size

    def __iter__(self):
        for i in range(0, len(self.examples), self.batch_size):
            chunk = self.examples[i:i + self.batch_size]
            text = nn.utils.rnn.pad_sequence([t for t, _ in chunk])
            yield text, torch.tensor([l for _, l in chunk])


def make_examples(n, vocab=100):
    g = torch.Generator().manual_seed(3)
    lengths = torch.randint(5, 14, (n,), generator=g).tolist()
    return [(torch.randint(1, vocab, (k,), generator=g), float(k % 2)) for k in sorted(lengths)]


def build():
    return RNN(100, 20, 16, 1, n_layers=2, bidirectional=True, dropout=0.5)


def step(model):
    iterator = BucketIterator(make_examples(17), batch_size=8)
    criterion = nn.BCEWithLogitsLoss()
    epoch_loss = 0
    for text, label in iterator:
        predictions = model(text).squeeze(1)
        epoch_loss = epoch_loss + criterion(predictions, label)
    return epoch_loss


# real fix: no squeeze(0), hidden is already (batch, 2 * hidden)
TRUTH = dict(raises='IndexError', at='function:squeeze', culprits=['function:squeeze'], dim=1, got=None, wanted=None,
             hint_any=['squeeze', 'batch', 'size 1', 'drop_last'])
MENDED = [('self.fc(hidden.squeeze(0))', 'self.fc(hidden)')]
