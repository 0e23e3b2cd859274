import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/dreamquark-ai/tabnet/pull/76'
CATEGORY = 'silent'
DESCRIPTION = 'TabNet on a table of customers: attentive steps choose columns, feature transformers begin with layers that all steps have in common.'


class GBN(nn.Module):
    def __init__(self, input_dim, virtual_batch_size=16, momentum=0.02):
        super().__init__()
        self.virtual_batch_size = virtual_batch_size
        self.bn = nn.BatchNorm1d(input_dim, momentum=momentum)

    def forward(self, x):
        chunks = x.chunk(-(-x.shape[0] // self.virtual_batch_size), 0)
        return torch.cat([self.bn(c) for c in chunks], dim=0)


class GLU_Layer(nn.Module):
    def __init__(self, input_dim, output_dim):
        super().__init__()
        self.output_dim = output_dim
        self.fc = nn.Linear(input_dim, 2 * output_dim, bias=False)
        self.bn = GBN(2 * output_dim)

    def forward(self, x):
        x = self.bn(self.fc(x))
        return x[:, :self.output_dim] * torch.sigmoid(x[:, self.output_dim:])


class GLU_Block(nn.Module):
    def __init__(self, layers, first=False):
        super().__init__()
        self.glu_layers = nn.ModuleList(layers)
        self.first = first
        self.scale = 0.5 ** 0.5

    def forward(self, x):
        layers = list(self.glu_layers)
        if self.first:
            x, layers = layers[0](x), layers[1:]
        for layer in layers:
            x = (x + layer(x)) * self.scale
        return x


class FeatTransformer(nn.Module):
    def __init__(self, output_dim, shared_layers, n_independent):
        super().__init__()
        self.shared = GLU_Block(shared_layers, first=True)
        self.specifics = GLU_Block([GLU_Layer(output_dim, output_dim) for _ in range(n_independent)])

    def forward(self, x):
        return self.specifics(self.shared(x))


class AttentiveTransformer(nn.Module):
    def __init__(self, input_dim, output_dim):
        super().__init__()
        self.fc = nn.Linear(input_dim, output_dim, bias=False)
        self.bn = GBN(output_dim)

    def forward(self, priors, processed_feat):
        return F.softmax(self.bn(self.fc(processed_feat)) * priors, dim=-1)


class TabNet(nn.Module):
    def __init__(self, input_dim=14, output_dim=2, n_d=8, n_a=8, n_steps=3, gamma=1.3, n_shared=2, n_independent=1):
        super().__init__()
        self.n_d, self.n_steps, self.gamma = n_d, n_steps, gamma
        self.initial_bn = nn.BatchNorm1d(input_dim, momentum=0.01)
        width = n_d + n_a
        shared_feat_transform = nn.ModuleList([GLU_Layer(input_dim if i == 0 else width, width)
                                               for i in range(n_shared)])
        self.initial_splitter = FeatTransformer(width, shared_feat_transform, n_independent)
        self.feat_transformers = nn.ModuleList()
        self.att_transformers = nn.ModuleList()
        for _ in range(n_steps):
            self.feat_transformers.append(FeatTransformer(width, shared_feat_transform, n_independent))
            self.att_transformers.append(AttentiveTransformer(n_a, input_dim))
        self.final_mapping = nn.Linear(n_d, output_dim, bias=False)

    def forward(self, x):
        x = self.initial_bn(x)
        prior = torch.ones_like(x)
        att = self.initial_splitter(x)[:, self.n_d:]
        out, M_loss = 0, 0
        for i in range(self.n_steps):
            M = self.att_transformers[i](prior, att)
            M_loss = M_loss + (M * torch.log(M + 1e-15)).sum(dim=1).mean()
            prior = (self.gamma - M) * prior
            step_out = self.feat_transformers[i](M * x)
            out = out + F.relu(step_out[:, :self.n_d])
            att = step_out[:, self.n_d:]
        return self.final_mapping(out), M_loss / self.n_steps


def build():
    return TabNet()


def step(model):
    torch.manual_seed(3)
    x = torch.randn(64, 14) * torch.linspace(0.5, 4.0, 14)
    y = (x[:, 0] + 0.3 * x[:, 5] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(4):
        model.train()
        out, M_loss = model(x)
        loss = F.cross_entropy(out, y) - 1e-3 * M_loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return F.cross_entropy(model(x)[0], y)


# only the linear layers are to be shared; the batch norms of the shared layers serve all four transformers too, so
# their running statistics mix those of the plain input and of three masked ones; real fix: layers share fc alone
TRUTH = dict(raises=None, at='module:initial_splitter.shared.glu_layers.0.bn.bn',
             culprits=['initial_splitter.shared.glu_layers.0.bn.bn', 'initial_splitter.shared.glu_layers.1.bn.bn',
                       'initial_splitter.shared.glu_layers.0.bn', 'initial_splitter.shared.glu_layers.1.bn',
                       'initial_splitter.shared.glu_layers.0', 'initial_splitter.shared.glu_layers.1'],
             dim=None, got=None, wanted=None, hint_any=['shared', 'running', 'statistics', 'batch norm', 'batchnorm', 'same'])
MENDED = [('''    def __init__(self, input_dim, output_dim):
        super().__init__()
        self.output_dim = output_dim
        self.fc = nn.Linear(input_dim, 2 * output_dim, bias=False)
''', '''    def __init__(self, input_dim, output_dim, fc=None):
        super().__init__()
        self.output_dim = output_dim
        self.fc = nn.Linear(input_dim, 2 * output_dim, bias=False) if fc is None else fc
'''), ('        self.shared = GLU_Block(shared_layers, first=True)',
       '        self.shared = GLU_Block([GLU_Layer(l.fc.in_features, l.output_dim, fc=l.fc) for l in shared_layers], first=True)')]
