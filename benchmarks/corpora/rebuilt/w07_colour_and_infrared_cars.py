import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/DocF/multispectral-object-detection/issues/77'
CATEGORY = 'silent'
DESCRIPTION = 'Detector for pairs of colour and infrared images: two convolution streams exchange features through a transformer; weights, biases and norms get their own decay.'


class Conv(nn.Module):
    def __init__(self, c1, c2, k=3, s=2):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(c2)

    def forward(self, x):
        return F.silu(self.bn(self.conv(x)))


class SelfAttention(nn.Module):
    def __init__(self, d_model, h):
        super().__init__()
        self.h = h
        self.que_proj, self.key_proj, self.val_proj = (nn.Linear(d_model, d_model) for _ in range(3))
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = (p(x).view(b, n, self.h, d // self.h).transpose(1, 2) for p in (self.que_proj, self.key_proj, self.val_proj))
        att = torch.softmax(q @ k.transpose(-1, -2) / (d // self.h) ** 0.5, -1)
        return self.out_proj((att @ v).transpose(1, 2).reshape(b, n, d))


class TransformerBlock(nn.Module):
    def __init__(self, d_model, h):
        super().__init__()
        self.ln_input = nn.LayerNorm(d_model)
        self.ln_output = nn.LayerNorm(d_model)
        self.sa = SelfAttention(d_model, h)
        self.mlp = nn.Sequential(nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Linear(2 * d_model, d_model))

    def forward(self, x):
        x = x + self.sa(self.ln_input(x))
        return x + self.mlp(self.ln_output(x))


class GPT(nn.Module):
    """fuses two feature maps over an anchors x anchors grid of each"""

    def __init__(self, d_model, h=4, n_layer=2, anchors=4):
        super().__init__()
        self.anchors = anchors
        self.pos_emb = nn.Parameter(torch.zeros(1, 2 * anchors * anchors, d_model))
        self.trans_blocks = nn.Sequential(*[TransformerBlock(d_model, h) for _ in range(n_layer)])
        self.ln_f = nn.LayerNorm(d_model)
        self.avgpool = nn.AdaptiveAvgPool2d(anchors)

    def forward(self, rgb_fea, ir_fea):
        bs, c, h, w = rgb_fea.shape
        tokens = torch.cat([self.avgpool(f).flatten(2) for f in (rgb_fea, ir_fea)], dim=2).permute(0, 2, 1)
        x = self.ln_f(self.trans_blocks(tokens + self.pos_emb))
        x = x.view(bs, 2, self.anchors, self.anchors, c).permute(0, 1, 4, 2, 3)
        return [F.interpolate(x[:, i], size=(h, w), mode='bilinear') for i in (0, 1)]


class TwoStreamDetector(nn.Module):
    def __init__(self, nc=3, na=3):
        super().__init__()
        self.no = nc + 5
        self.na = na
        self.rgb = nn.ModuleList([Conv(3, 16), Conv(16, 32)])
        self.ir = nn.ModuleList([Conv(3, 16), Conv(16, 32)])
        self.fuse = nn.ModuleList([GPT(16), GPT(32)])
        self.detect = nn.Conv2d(32, na * self.no, 1)

    def forward(self, rgb, ir):
        for conv_rgb, conv_ir, gpt in zip(self.rgb, self.ir, self.fuse):
            rgb, ir = conv_rgb(rgb), conv_ir(ir)
            d_rgb, d_ir = gpt(rgb, ir)
            rgb, ir = rgb + d_rgb, ir + d_ir
        p = self.detect(rgb + ir)
        b, _, ny, nx = p.shape
        return p.view(b, self.na, self.no, ny, nx).permute(0, 1, 3, 4, 2)


def make_optimizer(model, lr=0.05, momentum=0.937, weight_decay=5e-4):
    pg0, pg1, pg2 = [], [], []
    for k, v in model.named_modules():
        if hasattr(v, 'bias') and isinstance(v.bias, nn.Parameter):
            pg2.append(v.bias)
        if isinstance(v, nn.BatchNorm2d):
            pg0.append(v.weight)
        elif hasattr(v, 'weight') and isinstance(v.weight, nn.Parameter):
            pg1.append(v.weight)
    optimizer = torch.optim.SGD(pg0, lr=lr, momentum=momentum, nesterov=True)
    optimizer.add_param_group({'params': pg1, 'weight_decay': weight_decay})
    optimizer.add_param_group({'params': pg2})
    return optimizer


def compute_loss(p, tbox, tobj, tcls):
    found = tobj > 0
    lbox = F.mse_loss(p[..., :4][found].sigmoid(), tbox[found])
    lobj = F.binary_cross_entropy_with_logits(p[..., 4], tobj)
    lcls = F.binary_cross_entropy_with_logits(p[..., 5:][found], tcls[found])
    return lbox + lobj + 0.5 * lcls


def build():
    return TwoStreamDetector()


def step(model):
    optimizer = make_optimizer(model)
    rgb, ir = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
    tobj = (torch.rand(4, 3, 8, 8) < 0.1).float()
    tbox, tcls = torch.rand(4, 3, 8, 8, 4), F.one_hot(torch.randint(0, 3, (4, 3, 8, 8)), 3).float()
    model.train()
    for _ in range(4):
        optimizer.zero_grad()
        loss = compute_loss(model(rgb, ir), tbox, tobj, tcls)
        loss.backward()
        optimizer.step()
    return loss.detach()


# the groups take .weight and .bias of the modules only; pos_emb is neither, gets gradients and stays zero for ever
TRUTH = dict(raises=None, at=None, culprits=['fuse.0', 'fuse.1'], dim=None, got=None, wanted=None,
             hint_any=['pos_emb', 'optimizer', 'optimiser', 'parameter group', 'param group', 'never updated'])
MENDED = [('            pg1.append(v.weight)\n', '            pg1.append(v.weight)\n        if isinstance(v, GPT):\n            pg2.append(v.pos_emb)\n')]
