import torch
import torch.nn as nn
import torch.optim as optim

SOURCE = 'https://github.com/pytorch/pytorch/issues/2674'
CATEGORY = 'loss'
DESCRIPTION = 'IMDB sentiment (beginner): embeddings are (64 reviews, 150 words, E) for a time-first LSTM, h0 is made for 150, lstm_out[-1] gives 150 predictions.'

MAXFEATURES, EMBEDSIZE, NUMHIDDEN = 400, 25, 20
MAXLEN, BATCHSIZE, LR, BETA_1, BETA_2, EPS = 150, 64, 1e-3, 0.9, 0.999, 1e-8


class SymbolModule(nn.Module):
    # MINIBATCH in: [64, 150]
    # LABEL: [64]
    def __init__(self):
        super(SymbolModule, self).__init__()
        self.embedding = nn.Embedding(num_embeddings=MAXFEATURES, embedding_dim=EMBEDSIZE)
        self.lstm = nn.LSTM(input_size=EMBEDSIZE, hidden_size=NUMHIDDEN)
        self.l_out = nn.Linear(NUMHIDDEN, 2)

    def forward(self, x):
        embeds = self.embedding(x)
        _batch_size = embeds.size(1)
        # init hidden state and cell state
        h0 = torch.zeros(1, _batch_size, NUMHIDDEN)
        c0 = torch.zeros(1, _batch_size, NUMHIDDEN)
        lstm_out, (h, c) = self.lstm(embeds, (h0, c0))
        # take the last output
        pred = self.l_out(lstm_out[-1])
        return pred


def init_model(m, lr=LR, b1=BETA_1, b2=BETA_2, eps=EPS):
    opt = optim.Adam(m.parameters(), lr, betas=(b1, b2), eps=eps)
    criterion = nn.CrossEntropyLoss()
    return opt, criterion


def imdb_for_library(n_train=200, seq_len=MAXLEN, max_features=MAXFEATURES):
    START_CHAR, OOV_CHAR, INDEX_FROM = 1, 2, 3
    x, y = [], []
    for i in range(n_train):
        n = int(torch.randint(20, 260, ()))
        words = [START_CHAR] + [w if w < max_features else OOV_CHAR for w in (torch.randint(0, 600, (n,)) + INDEX_FROM).tolist()]
        words = words[-seq_len:]
        x.append([0] * (seq_len - len(words)) + words)
        y.append(i % 2)
    return torch.tensor(x), torch.tensor(y)


def yield_mb(X, y, batchsize=64, shuffle=False):
    if shuffle:
        order = torch.randperm(len(X))
        X, y = X[order], y[order]
    for i in range(len(X) // batchsize):
        yield X[i * batchsize:(i + 1) * batchsize], y[i * batchsize:(i + 1) * batchsize]


def build():
    return SymbolModule()


def step(model):
    optimizer, criterion = init_model(model)
    x_train, y_train = imdb_for_library()
    losses = []
    for data, target in yield_mb(x_train, y_train, BATCHSIZE, shuffle=True):
        optimizer.zero_grad()
        output = model(data)
        losses.append(criterion(output, target))
    return sum(losses) / len(losses)


# real fix: batch_first=True (and the last step of each review, h0 for embeds.size(0))
# offending tensor: the predictions (150, 2), the labels are (64,)
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['lstm', 'function:getitem', 'function:zeros', 'embedding'], dim=0, got=150, wanted=64,
             hint_any=['batch_first', 'transpose', 'batch', '[:, -1]'])
MENDED = [('embeds = self.embedding(x)\n', 'embeds = self.embedding(x).transpose(0, 1)\n')]
