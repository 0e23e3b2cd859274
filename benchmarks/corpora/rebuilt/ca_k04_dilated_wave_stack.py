import torch
import torch.nn as nn

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Raw-audio denoiser: a stack of dilated gated convolutions with residuals, L1 on the waveform, one optimizer step.'


class GatedBlock(nn.Module):
    def __init__(self, ch, dilation):
        super().__init__()
        self.conv = nn.Conv1d(ch, 2 * ch, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(ch, ch, 1)

    def forward(self, x):
        a, b = self.conv(x).chunk(2, 1)
        return self.mix(torch.tanh(a) * torch.sigmoid(b))


class Stack(nn.Module):
    def __init__(self, ch=16, depth=5):
        super().__init__()
        self.blocks = nn.ModuleList([GatedBlock(ch, 2 ** k) for k in range(depth)])

    def forward(self, x):
        for block in self.blocks:
            out = x + block(x)
        return out


class Denoiser(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.lift = nn.Conv1d(1, ch, 7, padding=3)
        self.stack = Stack(ch)
        self.drop = nn.Conv1d(ch, 1, 1)

    def forward(self, wav):
        return self.drop(self.stack(self.lift(wav)))


class Trainer:
    def __init__(self, net):
        self.net = net
        self.opt = torch.optim.Adam(net.parameters(), lr=2e-4)

    def batch(self, n=6, t=400):
        clean = torch.sin(torch.linspace(0, 40, t)[None, None] * (1 + torch.rand(n, 1, 1)))
        return clean + 0.1 * torch.randn(n, 1, t), clean

    def fit_one(self):
        noisy, clean = self.batch()
        loss = (self.net(noisy) - clean).abs().mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        return loss


def build():
    return Denoiser()


def step(model):
    return (Trainer(model).fit_one()).detach()


# every block reads the same x; only the last block's result is used
TRUTH = dict(raises=None, at='module:stack.blocks.0', culprits=['stack.blocks.0', 'stack.blocks.1', 'stack.blocks.2', 'stack.blocks.3', 'stack', 'function:add',
                                                               'stack.blocks.0.mix', 'stack.blocks.1.mix', 'stack.blocks.2.mix', 'stack.blocks.3.mix'],
             dim=None, got=None, wanted=None, hint_any=['unused', 'last', 'thrown', 'nothing uses', 'never', 'overwrit', 'same input'])
MENDED = [('            out = x + block(x)\n        return out', '            x = x + block(x)\n        return x')]
