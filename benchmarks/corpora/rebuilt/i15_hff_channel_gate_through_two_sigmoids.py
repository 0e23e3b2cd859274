import torch
import torch.nn as nn

SOURCE = 'https://github.com/huoxiangzuo/HiFuse/issues/9'
CATEGORY = 'silent'
DESCRIPTION = 'Hierarchical feature fusion: the channel gate goes through the sigmoid twice, so it lies between 0.5 and 0.73 whatever the features are.'


class Conv(nn.Module):
    def __init__(self, inp_dim, out_dim, kernel_size=3, stride=1, bn=False, relu=True, bias=True):
        super().__init__()
        self.conv = nn.Conv2d(inp_dim, out_dim, kernel_size, stride, padding=(kernel_size - 1) // 2, bias=bias)
        self.relu = nn.ReLU(inplace=True) if relu else None
        self.bn = nn.BatchNorm2d(out_dim) if bn else None

    def forward(self, x):
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        if self.relu is not None:
            x = self.relu(x)
        return x


class IRMLP(nn.Module):
    def __init__(self, inp_dim, out_dim):
        super().__init__()
        self.conv1 = Conv(inp_dim, inp_dim, 3, relu=False, bias=False, bn=True)
        self.conv2 = Conv(inp_dim, inp_dim * 2, 1, relu=False, bias=False)
        self.conv3 = Conv(inp_dim * 2, out_dim, 1, relu=False, bias=False, bn=True)
        self.gelu = nn.GELU()

    def forward(self, x):
        residual = x
        out = self.gelu(self.conv1(x)) + residual
        return self.conv3(self.gelu(self.conv2(out)))


class HFF_block(nn.Module):
    def __init__(self, ch_1, ch_2, r_2, ch_int, ch_out):
        super().__init__()
        self.maxpool = nn.AdaptiveMaxPool2d(1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.se = nn.Sequential(nn.Conv2d(ch_2, ch_2 // r_2, 1, bias=False), nn.ReLU(), nn.Conv2d(ch_2 // r_2, ch_2, 1, bias=False))
        self.sigmoid = nn.Sigmoid()
        self.spatial = Conv(2, 1, 7, bn=True, relu=False, bias=False)
        self.W_l = Conv(ch_1, ch_int, 1, bn=True, relu=False)
        self.W_g = Conv(ch_2, ch_int, 1, bn=True, relu=False)
        self.Avg = nn.AvgPool2d(2, stride=2)
        self.Updim = Conv(ch_int // 2, ch_int, 1, bn=True, relu=True)
        self.W = Conv(ch_int * 2, ch_int, 3, bn=True, relu=True)
        self.W3 = Conv(ch_int * 3, ch_int, 3, bn=True, relu=True)
        self.residual = IRMLP(ch_1 + ch_2 + ch_int, ch_out)

    def forward(self, l, g, f):
        W_local, W_global = self.W_l(l), self.W_g(g)
        if f is not None:
            W_f = self.Avg(self.Updim(f))
            X_f = self.W3(torch.cat([W_f, W_local, W_global], 1))
        else:
            X_f = self.W(torch.cat([W_local, W_global], 1))

        # spatial attention for the local branch
        l_jump = l
        max_result, _ = torch.max(l, dim=1, keepdim=True)
        avg_result = torch.mean(l, dim=1, keepdim=True)
        l = self.spatial(torch.cat([max_result, avg_result], 1))
        l = self.sigmoid(l) * l_jump

        # channel attention for the global branch
        g_jump = g
        max_out = self.se(self.maxpool(g))
        avg_out = self.se(self.avgpool(g))
        g = self.sigmoid(max_out + avg_out)
        g = self.sigmoid(g) * g_jump

        return self.residual(torch.cat([g, l, X_f], 1))


class DualBranch(nn.Module):
    def __init__(self, dim=8, num_classes=6):
        super().__init__()
        self.local1, self.local2 = Conv(3, dim, 3, 2, bn=True), Conv(dim, 2 * dim, 3, 2, bn=True)
        self.glob1, self.glob2 = Conv(3, dim, 7, 2, bn=True), Conv(dim, 2 * dim, 7, 2, bn=True)
        self.fu1 = HFF_block(dim, dim, 4, dim, dim)
        self.fu2 = HFF_block(2 * dim, 2 * dim, 4, 2 * dim, 2 * dim)
        self.norm = nn.LayerNorm(2 * dim)
        self.head = nn.Linear(2 * dim, num_classes)

    def forward(self, imgs):
        l1, g1 = self.local1(imgs), self.glob1(imgs)
        l2, g2 = self.local2(l1), self.glob2(g1)
        f = self.fu2(l2, g2, self.fu1(l1, g1, None))
        return self.head(self.norm(f.mean([-2, -1])))


def build():
    return DualBranch()


def step(model):
    imgs, labels = torch.randn(4, 3, 24, 24), torch.randint(0, 6, (4,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loss = nn.functional.cross_entropy(model(imgs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: one sigmoid
TRUTH = dict(raises=None, at='module:fu1.sigmoid', culprits=['fu1.sigmoid', 'fu2.sigmoid', 'fu1', 'fu2'], dim=None, got=None, wanted=None,
             hint_any=['sigmoid', 'twice', 'double', 'two'])
MENDED = [('g = self.sigmoid(max_out + avg_out)', 'g = max_out + avg_out')]
