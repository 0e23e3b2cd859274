import torch
import torch.nn as nn

SOURCE = 'https://github.com/datawhalechina/torch-rechub/issues/228'
CATEGORY = 'loss'
DESCRIPTION = ('DIEN: the click labels of the history are one list of seq_len numbers, the auxiliary loss flattens them beside '
               'the GRU outputs of all users: (64, 1) against (8, 1); batch, sequence and embedding are all 8.')


class AUGRUCell(nn.Module):
    def __init__(self, embed_dim):
        super().__init__()
        self.Wx = nn.Linear(embed_dim, 3 * embed_dim)
        self.Uh = nn.Linear(embed_dim, 3 * embed_dim, bias=False)
        self.Wa = nn.Linear(embed_dim, embed_dim, bias=False)

    def attention(self, x, item):
        return torch.sigmoid((self.Wa(x) * item).sum(dim=1, keepdim=True))

    def forward(self, x, h, item):
        xu, xr, xh = self.Wx(x).chunk(3, dim=1)
        hu, hr, hh = self.Uh(h).chunk(3, dim=1)
        u = self.attention(x, item) * torch.sigmoid(xu + hu)
        h_hat = torch.tanh(xh + torch.sigmoid(xr + hr) * hh)
        return (1 - u) * h + u * h_hat


class DIEN(nn.Module):
    def __init__(self, features, history_features, target_features, embed_dim, mlp_dims, history_labels, alpha=0.2):
        super().__init__()
        self.features, self.history_features, self.target_features = features, history_features, target_features
        self.alpha = alpha
        self.embedding = nn.ModuleDict({name: nn.Embedding(size, embed_dim)
                                        for name, size in {**features, **target_features}.items()})
        self.interest_extractor_layers = nn.ModuleList([nn.GRU(embed_dim, embed_dim, batch_first=True)
                                                        for _ in history_features])
        self.interest_evolving_layers = nn.ModuleList([AUGRUCell(embed_dim) for _ in history_features])
        dims = [embed_dim * (len(features) + len(history_features) + len(target_features))] + mlp_dims
        layers = []
        for i, o in zip(dims[:-1], dims[1:]):
            layers += [nn.Linear(i, o), nn.PReLU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(dims[-1], 1))
        self.history_labels = torch.tensor(history_labels)
        self.BCELoss = nn.BCELoss()

    def auxiliary(self, outs, history_features, history_labels):
        history_features = history_features.reshape(-1, history_features.shape[2])
        outs = outs.reshape(-1, outs.shape[2])
        out = torch.sum(outs * history_features, dim=1)
        out = torch.unsqueeze(torch.sigmoid(out), 1)
        history_labels = history_labels.reshape(-1, 1).float()
        return self.BCELoss(out, history_labels)

    def forward(self, x):
        static = [self.embedding[name](x[name]) for name in self.features]
        auxi_loss, evolved, items = 0, [], []
        for i, (hist, target) in enumerate(self.history_features.items()):
            history, item = self.embedding[target](x[hist]), self.embedding[target](x[target])
            outs, _ = self.interest_extractor_layers[i](history)
            auxi_loss = auxi_loss + self.auxiliary(outs, history, self.history_labels)
            h = torch.zeros_like(item)
            for t in range(outs.size(1)):
                h = self.interest_evolving_layers[i](outs[:, t], h, item)
            evolved.append(h)
            items.append(item)
        y = self.mlp(torch.cat(evolved + items + static, dim=1))
        return torch.sigmoid(y.squeeze(1)), self.alpha * auxi_loss


SEQ_LEN = 8


def build():
    return DIEN(features={'user': 100}, history_features={'hist_item': 'target_item'}, target_features={'target_item': 60},
                embed_dim=8, mlp_dims=[32, 16], history_labels=[1] * SEQ_LEN)


def step(model):
    batch = {'user': torch.randint(0, 100, (8,)), 'target_item': torch.randint(0, 60, (8,)),
             'hist_item': torch.randint(0, 60, (8, SEQ_LEN))}
    y, aux = model(batch)
    return nn.functional.binary_cross_entropy(y, torch.randint(0, 2, (8,)).float()) + aux


# the labels have to be repeated for every user of the batch before they are flattened
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['target', 'function:reshape'], dim=0, got=8, wanted=64,
             hint_any=['batch', 'expand', 'repeat', 'history_labels'])
MENDED = [('history_labels = history_labels.reshape(-1, 1).float()',
           'history_labels = history_labels.repeat(len(out) // len(history_labels)).reshape(-1, 1).float()')]
