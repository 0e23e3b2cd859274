import math
import torch
import torch.nn as nn

SOURCE = 'https://github.com/ok1zjf/VASNet/issues/25'
CATEGORY = 'silent'
DESCRIPTION = 'Summaries of home videos: self-attention over the frames of one video, a regressor gives every frame its importance.'


class SelfAttention(nn.Module):
    def __init__(self, apperture=-1, ignore_itself=False, input_size=64, output_size=64):
        super().__init__()
        self.apperture = apperture
        self.ignore_itself = ignore_itself
        self.m = input_size
        self.K = nn.Linear(input_size, output_size, bias=False)
        self.Q = nn.Linear(input_size, output_size, bias=False)
        self.V = nn.Linear(input_size, output_size, bias=False)
        self.output_linear = nn.Linear(output_size, input_size, bias=False)
        self.drop50 = nn.Dropout(0.5)

    def forward(self, x):
        n = x.shape[0]
        K, Q, V = self.K(x), self.Q(x), self.V(x)
        Q = Q * 0.06
        logits = torch.matmul(Q, K.transpose(1, 0))
        if self.ignore_itself:
            logits[torch.eye(n).bool()] = -float('inf')
        if self.apperture > 0:
            onesmask = torch.ones(n, n)
            trimask = torch.tril(onesmask, -self.apperture) + torch.triu(onesmask, self.apperture)
            logits[trimask == 1] = -float('inf')
        att_weights_ = nn.functional.softmax(logits, dim=-1)
        weights = self.drop50(att_weights_)
        y = torch.matmul(V.transpose(1, 0), weights).transpose(1, 0)
        y = self.output_linear(y)
        return y, att_weights_


class LayerNorm(nn.Module):
    def __init__(self, features, eps=1e-6):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(features))
        self.beta = nn.Parameter(torch.zeros(features))
        self.eps = eps

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        std = x.std(-1, keepdim=True)
        return self.gamma * (x - mean) / (std + self.eps) + self.beta


class VASNet(nn.Module):
    def __init__(self, m=64, hidden_size=64):
        super().__init__()
        self.m, self.hidden_size = m, hidden_size
        self.att = SelfAttention(input_size=m, output_size=m)
        self.ka = nn.Linear(m, hidden_size)
        self.kd = nn.Linear(hidden_size, 1)
        self.sig = nn.Sigmoid()
        self.relu = nn.ReLU()
        self.drop50 = nn.Dropout(0.5)
        self.layer_norm_y = LayerNorm(m)
        self.layer_norm_ka = LayerNorm(hidden_size)

    def forward(self, x, seq_len):
        m = x.shape[2]
        x = x.view(-1, m)
        y, att_weights_ = self.att(x)
        y = y + x
        y = self.drop50(y)
        y = self.layer_norm_y(y)
        y = self.relu(self.ka(y))
        y = self.drop50(y)
        y = self.layer_norm_ka(y)
        y = self.sig(self.kd(y))
        return y.view(1, -1), att_weights_


def weights_init(m):
    if isinstance(m, nn.Linear):
        nn.init.xavier_uniform_(m.weight, gain=math.sqrt(2.0))
        if m.bias is not None:
            nn.init.constant_(m.bias, 0.1)


def build():
    model = VASNet()
    model.apply(weights_init)
    return model


def step(model):
    videos = [(torch.rand(n, 64), torch.rand(n)) for n in (40, 64, 53)]
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-4, weight_decay=1e-5)
    model.train()
    avg_loss = []
    for seq, target in videos:
        seq = seq.unsqueeze(0)
        target = target.unsqueeze(0)
        target = target - target.min()
        target = target / target.max()
        y, _ = model(seq, seq.shape[1])
        loss = criterion(y, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        avg_loss.append(loss.detach())
    return torch.stack(avg_loss).mean()


# softmax runs over the keys (last axis), the weighted sum over the queries: V^T W sums over the first axis of W; W V is meant
TRUTH = dict(raises=None, at=None, culprits=['function:matmul', 'function:softmax', 'att'], dim=None, got=None, wanted=None,
             hint_any=['softmax', 'quer', 'transpos', 'key', 'sum over', 'axis', 'dim'])
MENDED = [('torch.matmul(V.transpose(1, 0), weights).transpose(1, 0)', 'torch.matmul(weights, V)')]
