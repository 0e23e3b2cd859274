import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/CAMMA-public/rendezvous/issues/10'
CATEGORY = 'silent'
DESCRIPTION = 'The multi-head attention of Rendezvous normalizes its (B, heads, D, D) affinities with Softmax(dim=1), over the four heads.'


class Projection(nn.Module):
    def __init__(self, num_tool=6, num_verb=10, num_target=15, num_triplet=20, out_depth=16):
        super().__init__()
        self.ivt_value = nn.Conv2d(num_triplet, out_depth, kernel_size=1)
        self.i_value = nn.Conv2d(num_tool, out_depth, kernel_size=1)
        self.v_value = nn.Conv2d(num_verb, out_depth, kernel_size=1)
        self.t_value = nn.Conv2d(num_target, out_depth, kernel_size=1)
        self.ivt_query = nn.Linear(num_triplet, out_depth)
        self.dropout = nn.Dropout(p=0.3)
        self.ivt_key = nn.Linear(num_triplet, out_depth)
        self.i_key = nn.Linear(num_tool, out_depth)
        self.v_key = nn.Linear(num_verb, out_depth)
        self.t_key = nn.Linear(num_target, out_depth)
        self.gap = nn.AdaptiveAvgPool2d((1, 1))
        self.elu = nn.ELU()

    def pooled(self, x):
        return self.gap(x).squeeze(-1).squeeze(-1)

    def forward(self, cam_i, cam_v, cam_t, X):
        q = self.elu(self.ivt_query(self.dropout(self.pooled(X))))
        k = self.elu(self.ivt_key(self.pooled(X)))
        v = self.ivt_value(X)
        k1, v1 = self.elu(self.i_key(self.pooled(cam_i))), self.elu(self.i_value(cam_i))
        k2, v2 = self.elu(self.v_key(self.pooled(cam_v))), self.elu(self.v_value(cam_v))
        k3, v3 = self.elu(self.t_key(self.pooled(cam_t))), self.elu(self.t_value(cam_t))
        sh = list(v1.shape)
        v = self.elu(F.interpolate(v, (sh[2], sh[3])))
        X = self.elu(F.interpolate(X, (sh[2], sh[3])))
        return X, (k1, v1), (k2, v2), (k3, v3), (q, k, v)


class MHMA(nn.Module):
    def __init__(self, depth, num_class=20, num_heads=4):
        super().__init__()
        self.concat = nn.Conv2d(depth * num_heads, num_class, kernel_size=3, padding=1)
        self.bn = nn.BatchNorm2d(num_class)
        self.ln = nn.BatchNorm2d(num_class)
        self.elu = nn.ELU()
        self.soft = nn.Softmax(dim=1)
        self.heads = num_heads

    def scale_dot_product(self, key, value, query):
        dk = torch.sqrt(torch.tensor(list(key.shape)[-2], dtype=torch.float32))
        affinity = key.matmul(query.transpose(-1, -2))
        attn_w = affinity / dk
        attn_w = self.soft(attn_w)
        return attn_w.matmul(value)

    def forward(self, inputs):
        X, (k1, v1), (k2, v2), (k3, v3), (q, k, v) = inputs
        query = torch.stack([q] * self.heads, dim=1).unsqueeze(dim=-1)
        key = torch.stack([k, k1, k2, k3], dim=1).unsqueeze(dim=-1)
        value = torch.stack([v, v1, v2, v3], dim=1)
        dims = list(value.shape)
        value = value.reshape([-1, dims[1], dims[2], dims[3] * dims[4]])
        attn = self.scale_dot_product(key, value, query)
        attn = attn.reshape([-1, dims[1] * dims[2], dims[3], dims[4]])
        mha = self.elu(self.bn(self.concat(attn)))
        return self.ln(mha + X.clone())


class Decoder(nn.Module):
    def __init__(self, layer_size=2, d_model=16, num_class=20):
        super().__init__()
        self.projection = nn.ModuleList([Projection(num_triplet=num_class, out_depth=d_model) for _ in range(layer_size)])
        self.mhma = nn.ModuleList([MHMA(d_model, num_class) for _ in range(layer_size)])
        self.gmp = nn.AdaptiveMaxPool2d((1, 1))
        self.mlp = nn.Linear(num_class, num_class)

    def forward(self, cam_i, cam_v, cam_t, X):
        for project, attend in zip(self.projection, self.mhma):
            X = attend(project(cam_i, cam_v, cam_t, X))
        return self.mlp(self.gmp(X).squeeze(-1).squeeze(-1))


def build():
    return Decoder()


def step(model):
    b, h, w = 4, 5, 7
    cams = [torch.randn(b, n, h, w) for n in (6, 10, 15)]
    feature = torch.randn(b, 20, h, w)
    ivt = (torch.rand(b, 20) < 0.15).float()
    loss = nn.BCEWithLogitsLoss()(model(*cams, feature), ivt)
    loss.backward()
    return loss.detach()


# attn_w is (B, Head, D, D): the weights have to sum to one over the last dimension; the TensorFlow original has it so
TRUTH = dict(raises=None, at='module:mhma.0.soft', culprits=['mhma.0.soft', 'mhma.1.soft', 'function:softmax'], dim=1, got=4, wanted=None,
             hint_any=['softmax', 'dim=-1', 'head', 'last'])
MENDED = [('self.soft = nn.Softmax(dim=1)', 'self.soft = nn.Softmax(dim=-1)')]
