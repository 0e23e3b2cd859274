import math
import torch
import torch.nn as nn

SOURCE = 'https://github.com/tanjimin/C.Origami/issues/42'
CATEGORY = 'silent'
DESCRIPTION = 'Chromatin contact model: features are (batch, length, dim) but the positional encoding of shape (max_len, 1, dim) is cut by x.size(0) and added along the batch.'


class ConvBlock(nn.Module):
    def __init__(self, size, stride=2, hidden_in=16, hidden=16):
        super().__init__()
        pad = size // 2
        self.scale = nn.Sequential(nn.Conv1d(hidden_in, hidden, size, stride, pad), nn.BatchNorm1d(hidden), nn.ReLU())
        self.res = nn.Sequential(nn.Conv1d(hidden, hidden, size, padding=pad), nn.BatchNorm1d(hidden))

    def forward(self, x):
        scaled = self.scale(x)
        return torch.relu(self.res(scaled) + scaled)


class EncoderSplit(nn.Module):
    def __init__(self, num_epi, hidden=16, num_blocks=3):
        super().__init__()
        self.conv_seq = nn.Conv1d(5, hidden // 2, 3, 2, 1)
        self.conv_epi = nn.Conv1d(num_epi, hidden // 2, 3, 2, 1)
        self.blocks = nn.Sequential(*[ConvBlock(5, hidden_in=hidden, hidden=hidden) for _ in range(num_blocks)])

    def forward(self, x):
        seq, epi = x[:, :5], x[:, 5:]
        return self.blocks(torch.cat([self.conv_seq(seq), self.conv_epi(epi)], dim=1))


class PositionalEncoding(nn.Module):
    def __init__(self, hidden, dropout=0.0, max_len=256):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, hidden, 2) * (-math.log(10000.0) / hidden))
        pe = torch.zeros(max_len, 1, hidden)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer('pe', pe)

    def forward(self, x):
        x = x + self.pe[:x.size(0)]
        return self.dropout(x)


class AttnModule(nn.Module):
    def __init__(self, hidden=16, layers=2):
        super().__init__()
        self.pos_encoder = PositionalEncoding(hidden)
        layer = nn.TransformerEncoderLayer(hidden, 4, 32, dropout=0.0, batch_first=True)
        self.module = nn.TransformerEncoder(layer, layers)

    def forward(self, x):
        return self.module(self.pos_encoder(x))


class ConvTransModel(nn.Module):
    def __init__(self, num_genomic_features=2, mid_hidden=16):
        super().__init__()
        self.encoder = EncoderSplit(num_genomic_features, mid_hidden)
        self.attn = AttnModule(mid_hidden)
        self.decoder = nn.Conv2d(2 * mid_hidden, 1, 1)

    def move_feature_forward(self, x):
        return x.transpose(1, 2).contiguous()

    def diagonalize(self, x):
        n = x.size(2)
        x_i = x.unsqueeze(2).repeat(1, 1, n, 1)
        x_j = x.unsqueeze(3).repeat(1, 1, 1, n)
        return torch.cat([x_i, x_j], dim=1)

    def forward(self, x):
        x = self.move_feature_forward(x).float()
        x = self.encoder(x)
        x = self.move_feature_forward(x)
        x = self.attn(x)
        x = self.move_feature_forward(x)
        return self.decoder(self.diagonalize(x)).squeeze(1)


def build():
    return ConvTransModel()


def step(model):
    seq = nn.functional.one_hot(torch.randint(0, 5, (4, 256)), 5).float()
    features = torch.cat([seq, torch.rand(4, 256, 2)], dim=2)
    mat = torch.rand(4, 16, 16)
    return nn.MSELoss()(model(features), mat)


# real fix: the encoding must follow the length, pe[:x.size(1)].transpose(0, 1)
TRUTH = dict(raises=None, at='function:add', culprits=['function:getitem', 'function:add', 'attn.pos_encoder'], dim=0, got=4, wanted=16,
             hint_any=['batch', 'size(1)', 'transpose', 'batch_first'])
MENDED = [('self.pe[:x.size(0)]', 'self.pe[:x.size(1)].transpose(0, 1)')]
