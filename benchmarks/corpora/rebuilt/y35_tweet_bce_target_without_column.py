import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/FernandoLpz/Text-Classification-LSTMs-PyTorch/issues/9'
CATEGORY = 'loss'
DESCRIPTION = 'Tweet classifier: F.binary_cross_entropy of (64, 1) probabilities against labels (64).'


class TweetClassifier(nn.Module):
    def __init__(self, max_words, hidden_dim, lstm_layers):
        super().__init__()
        self.hidden_dim, self.LSTM_layers, self.input_size = hidden_dim, lstm_layers, max_words
        self.dropout = nn.Dropout(0.5)
        self.embedding = nn.Embedding(self.input_size, self.hidden_dim, padding_idx=0)
        self.lstm = nn.LSTM(input_size=self.hidden_dim, hidden_size=self.hidden_dim, num_layers=self.LSTM_layers, batch_first=True)
        self.fc1 = nn.Linear(in_features=self.hidden_dim, out_features=257)
        self.fc2 = nn.Linear(257, 1)

    def forward(self, x):
        h = torch.zeros((self.LSTM_layers, x.size(0), self.hidden_dim))
        c = torch.zeros((self.LSTM_layers, x.size(0), self.hidden_dim))
        torch.nn.init.xavier_normal_(h)
        torch.nn.init.xavier_normal_(c)
        out = self.embedding(x)
        out, (hidden, cell) = self.lstm(out, (h, c))
        out = self.dropout(out)
        out = torch.relu_(self.fc1(out[:, -1, :]))
        out = self.dropout(out)
        out = torch.sigmoid(self.fc2(out))
        return out


class DatasetMaper(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, idx):
        return self.x[idx], self.y[idx]


def build():
    return TweetClassifier(max_words=200, hidden_dim=16, lstm_layers=2)


def step(model):
    x_train, y_train = torch.randint(0, 200, (128, 20)).numpy(), torch.randint(0, 2, (128,)).numpy()
    loader_training = DataLoader(DatasetMaper(x_train, y_train), batch_size=64)
    for x_batch, y_batch in loader_training:
        x = x_batch.type(torch.LongTensor)
        y = y_batch.type(torch.FloatTensor)
        y_pred = model(x)
        return F.binary_cross_entropy(y_pred, y)


# real fix: y = y.unsqueeze(1)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['target'], dim=1, got=None, wanted=1,
             hint_any=['unsqueeze', 'squeeze', 'view(-1', '(64, 1)'])
MENDED = [('binary_cross_entropy(y_pred, y)', 'binary_cross_entropy(y_pred, y.unsqueeze(1))')]
