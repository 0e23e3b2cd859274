import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pytorch/pytorch/issues/715'
CATEGORY = 'silent'
DESCRIPTION = 'Sentence pair classifier: the hidden layers are put into a plain list of lists, so they are no parameters of the network and only the other layers are trained.'


class SNLINet(nn.Module):
    def __init__(self, options):
        super().__init__()
        self.options = options
        self.emb = nn.Embedding(options['n_words'], options['n_emb'], padding_idx=0)
        self.rnn = nn.GRU(options['n_emb'], options['n_enc'], batch_first=True)

        self.hids = []
        indim = 4 * options['n_enc']
        for li in range(options['n_layers']):
            self.hids.append([
                nn.Linear(indim, options['n_hid']),
                getattr(nn, options['act'])()
            ])
            indim = options['n_hid']

        self.classifier = nn.Linear(options['n_hid'], 3)

    def encode(self, sentence):
        _, last = self.rnn(self.emb(sentence))
        return last[-1]

    def forward(self, premise, hypothesis):
        p, h = self.encode(premise), self.encode(hypothesis)
        x = torch.cat([p, h, torch.abs(p - h), p * h], dim=1)
        for linear, activation in self.hids:
            x = activation(linear(x))
        return self.classifier(x)


def build():
    return SNLINet(dict(n_words=100, n_emb=16, n_enc=12, n_hid=256, n_layers=2, act='ReLU'))


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    premise, hypothesis = torch.randint(1, 100, (12, 9)), torch.randint(1, 100, (12, 7))
    label = torch.randint(0, 3, (12,))
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(premise, hypothesis), label)
        loss.backward()
        optimizer.step()
    return loss.detach()


# fix of the thread: nn.ModuleList
TRUTH = dict(raises=None, at='function:linear', culprits=['', 'function:linear'], dim=None, got=None, wanted=None,
             hint_any=['modulelist', 'list', 'registered', 'parameters'])
MENDED = [('self.hids = []', 'self.hids = nn.ModuleList()'), ('self.hids.append([', 'self.hids.append(nn.ModuleList(['),
          ("getattr(nn, options['act'])()\n            ])", "getattr(nn, options['act'])()\n            ]))")]
