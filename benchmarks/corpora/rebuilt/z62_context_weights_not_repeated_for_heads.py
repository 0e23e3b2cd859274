import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/tfernd/sd-fused/issues/4'
CATEGORY = 'layer'
DESCRIPTION = 'The weights of the prompt (one a sample) are not repeated for the heads that were folded into the batch.'


class CrossAttention(nn.Module):
    def __init__(self, dim, context_dim, heads):
        super().__init__()
        self.num_heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim, dim, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def heads_to_batch(self, x):
        b, t, c = x.shape
        return x.view(b, t, self.num_heads, c // self.num_heads).transpose(1, 2).reshape(b * self.num_heads, t, -1)

    def heads_to_channel(self, x):
        n, t, c = x.shape
        b = n // self.num_heads
        return x.view(b, self.num_heads, t, c).transpose(1, 2).reshape(b, t, -1)

    def forward(self, x, context, context_weights):
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        q, k, v = map(self.heads_to_batch, (q, k, v))
        score = torch.bmm(q, k.transpose(1, 2)) * q.shape[-1] ** -0.5
        bias = torch.zeros(len(context), x.shape[1], context.shape[1])
        bias += context_weights.log()[:, None]
        bias += score
        attention = bias.softmax(dim=-1)
        return self.to_out(self.heads_to_channel(torch.bmm(attention, v)))


class UNet(nn.Module):
    def __init__(self, channels=16, context_dim=12):
        super().__init__()
        self.conv_in = nn.Conv2d(4, channels, 3, padding=1)
        self.attn = CrossAttention(channels, context_dim, 4)
        self.conv_out = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, x, context, weights):
        h = self.conv_in(x)
        b, c, height, width = h.shape
        t = h.flatten(2).transpose(1, 2)
        t = t + self.attn(t, context, weights)
        return self.conv_out(t.transpose(1, 2).view(b, c, height, width))


def build():
    torch.manual_seed(0)
    return UNet()


def step(model):
    latents, noise = torch.randn(2, 4, 6, 5), torch.randn(2, 4, 6, 5)
    context, weights = torch.randn(2, 7, 12), torch.rand(2, 7) + 0.5
    return F.mse_loss(model(latents, context, weights), noise)


TRUTH = dict(raises='RuntimeError', at='function:add_', culprits=['function:zeros', 'function:add', 'function:add_', 'function:iadd', 'function:getitem'], dim=0, got=8, wanted=2, hint_any=['heads', 'repeat', '8'])
MENDED = [('bias = torch.zeros(len(context), x.shape[1], context.shape[1])', 'bias = torch.zeros(len(q), x.shape[1], context.shape[1])'), ('context_weights.log()[:, None]', 'context_weights.log().repeat_interleave(self.num_heads, 0)[:, None]')]
