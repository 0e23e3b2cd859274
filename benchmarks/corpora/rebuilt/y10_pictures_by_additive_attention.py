import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Amshaker/SwiftFormer/issues/4'
CATEGORY = 'silent'
DESCRIPTION = 'Small image classifier for telephones: convolutional encoders and blocks with one global query from additive attention.'


class ConvEncoder(nn.Module):
    def __init__(self, dim, hidden_dim=64, kernel_size=3):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.norm = nn.BatchNorm2d(dim)
        self.pwconv1 = nn.Conv2d(dim, hidden_dim, 1)
        self.pwconv2 = nn.Conv2d(hidden_dim, dim, 1)
        self.act = nn.GELU()
        self.layer_scale = nn.Parameter(torch.ones(dim).unsqueeze(-1).unsqueeze(-1))

    def forward(self, x):
        input = x
        x = self.norm(self.dwconv(x))
        x = self.pwconv2(self.act(self.pwconv1(x)))
        return input + self.layer_scale * x


class EfficientAdditiveAttnetion(nn.Module):
    """x (B, N, D), gives (B, N, D)"""

    def __init__(self, in_dims=32, token_dim=16, num_heads=2):
        super().__init__()
        self.to_query = nn.Linear(in_dims, token_dim * num_heads)
        self.to_key = nn.Linear(in_dims, token_dim * num_heads)
        self.w_g = nn.Parameter(torch.randn(token_dim * num_heads, 1))
        self.scale_factor = token_dim ** -0.5
        self.Proj = nn.Linear(token_dim * num_heads, token_dim * num_heads)
        self.final = nn.Linear(token_dim * num_heads, token_dim)

    def forward(self, x):
        query = self.to_query(x)
        key = self.to_key(x)

        query = F.normalize(query, dim=-1)
        key = F.normalize(key, dim=-1)

        query_weight = query @ self.w_g
        A = query_weight * self.scale_factor

        A = A.softmax(dim=-1)

        G = torch.sum(A * query, dim=1)
        G = G.unsqueeze(1).repeat(1, key.shape[1], 1)

        out = self.Proj(G * key) + query
        return self.final(out)


class LocalRepresentation(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm = nn.BatchNorm2d(dim)
        self.pwconv1 = nn.Conv2d(dim, dim, 1)
        self.pwconv2 = nn.Conv2d(dim, dim, 1)

    def forward(self, x):
        return x + self.pwconv2(F.gelu(self.pwconv1(self.norm(self.dwconv(x)))))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(dim)
        self.fc1 = nn.Conv2d(dim, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(self.norm1(x))))


class SwiftFormerEncoder(nn.Module):
    def __init__(self, dim, mlp_ratio=2):
        super().__init__()
        self.local_representation = LocalRepresentation(dim)
        self.attn = EfficientAdditiveAttnetion(in_dims=dim, token_dim=dim, num_heads=1)
        self.linear = Mlp(dim, dim * mlp_ratio)
        self.layer_scale_1 = nn.Parameter(0.1 * torch.ones(dim, 1, 1))
        self.layer_scale_2 = nn.Parameter(0.1 * torch.ones(dim, 1, 1))

    def forward(self, x):
        x = self.local_representation(x)
        B, C, H, W = x.shape
        a = self.attn(x.permute(0, 2, 3, 1).reshape(B, H * W, C)).reshape(B, H, W, C).permute(0, 3, 1, 2)
        x = x + self.layer_scale_1 * a
        return x + self.layer_scale_2 * self.linear(x)


class SwiftFormer(nn.Module):
    def __init__(self, dims=(16, 32), num_classes=10):
        super().__init__()
        self.patch_embed = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, dims[0], 3, 2, 1), nn.BatchNorm2d(dims[0]), nn.ReLU())
        self.network = nn.ModuleList([
            nn.Sequential(ConvEncoder(dims[0]), SwiftFormerEncoder(dims[0])),
            nn.Sequential(nn.Conv2d(dims[0], dims[1], 3, 2, 1), nn.BatchNorm2d(dims[1])),
            nn.Sequential(ConvEncoder(dims[1]), SwiftFormerEncoder(dims[1]))])
        self.norm = nn.BatchNorm2d(dims[1])
        self.head = nn.Linear(dims[1], num_classes)

    def forward(self, x):
        x = self.patch_embed(x)
        for block in self.network:
            x = block(x)
        return self.head(self.norm(x).flatten(2).mean(-1))


def build():
    return SwiftFormer()


def step(model):
    x, y = torch.rand(8, 3, 32, 32), torch.randint(0, 10, (8,))
    return F.cross_entropy(model(x), y, label_smoothing=0.1)


# A is (B, N, 1): the softmax over the last axis of one entry gives 1 everywhere; w_g gets no gradient; dim=1 (the N places) is meant
TRUTH = dict(raises=None, at='function:softmax', culprits=['function:softmax', 'network.0.1.attn', 'network.2.1.attn'], dim=2, got=1, wanted=None,
             hint_any=['softmax', 'size 1', 'one entry', 'single', 'length 1', 'always 1', 'constant'])
MENDED = [('A = A.softmax(dim=-1)', 'A = A.softmax(dim=1)')]
