import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://discuss.pytorch.org/t/bilstm-output-hidden-state-mismatch/49825'
CATEGORY = 'silent'
DESCRIPTION = 'Bidirectional LSTM as a sentence encoder: output[-1] joins the last forward state with a backward state that has read the last word alone; the final backward state stands in output[0].'


class QuestionDataset(Dataset):
    """Question types told by the first words (who, where, how many ...)."""

    def __init__(self, n=24, seq_len=10, vocab=50, classes=6):
        self.x = torch.randint(classes, vocab, (n, seq_len))
        self.y = torch.arange(n) % classes
        self.x[:, 0] = self.y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class BiLSTMEncoder(nn.Module):
    def __init__(self, vocab_size, embed_dim, hidden_size, num_layers=1):
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.rnn = nn.LSTM(embed_dim, hidden_size, num_layers, bidirectional=True)

    def init_hidden(self, batch_size):
        return (torch.zeros(2 * self.num_layers, batch_size, self.hidden_size),
                torch.zeros(2 * self.num_layers, batch_size, self.hidden_size))

    def forward(self, x):
        embeds = self.embedding(x).transpose(0, 1)
        output, (h_n, c_n) = self.rnn(embeds, self.init_hidden(x.size(0)))
        return output[-1]


class QuestionClassifier(nn.Module):
    def __init__(self, vocab_size=50, embed_dim=8, hidden_size=12, classes=6):
        super().__init__()
        self.encoder = BiLSTMEncoder(vocab_size, embed_dim, hidden_size)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(2 * hidden_size, classes)

    def forward(self, x):
        sentence = self.encoder(x)
        return self.fc(self.dropout(sentence))


def build():
    return QuestionClassifier()


def step(model):
    loader = DataLoader(QuestionDataset(), batch_size=8, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return loss.detach()


# h_n holds the final state of both directions
TRUTH = dict(raises=None, at='function:__getitem__', culprits=['function:__getitem__', 'function:getitem', 'function:select', 'encoder.rnn', 'encoder'],
             dim=None, got=None, wanted=None, hint_any=['backward', 'direction', 'bidirectional', 'h_n', 'reverse'])
MENDED = [('return output[-1]', 'return torch.cat([h_n[-2], h_n[-1]], dim=1)')]
