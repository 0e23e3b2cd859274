"""AugmentedConv: (B, heads, pixels, dv/heads) is reshaped to (B, heads, dv/heads, H,
W) without a permute.

https://github.com/leaderj1001/Attention-Augmented-Conv2d/issues/21
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, H, W = 2, 6, 5


class AugmentedConv(nn.Module):
    def __init__(self, cin, cout, dk, dv, heads):
        super().__init__()
        self.dk, self.dv, self.heads = dk, dv, heads
        self.conv_out = nn.Conv2d(cin, cout - dv, 3, padding=1)
        self.qkv_conv = nn.Conv2d(cin, 2 * dk + dv, 1)
        self.attn_out = nn.Conv2d(dv, dv, 1)

    def split_heads_2d(self, x):
        batch, channels, height, width = x.size()
        return x.reshape(batch, self.heads, channels // self.heads, height, width)

    def forward(self, x):
        conv_out = self.conv_out(x)
        batch, _, height, width = x.size()
        q, k, v = torch.split(self.qkv_conv(x), [self.dk, self.dk, self.dv], dim=1)
        flat_q = self.split_heads_2d(q).flatten(3) * (self.dk // self.heads) ** -0.5
        flat_k, flat_v = self.split_heads_2d(k).flatten(3), self.split_heads_2d(
            v
        ).flatten(3)
        logits = torch.matmul(flat_q.transpose(2, 3), flat_k)
        weights = F.softmax(logits, dim=-1)
        attn_out = torch.matmul(weights, flat_v.transpose(2, 3))
        attn_out = torch.reshape(
            attn_out, (batch, self.heads, self.dv // self.heads, height, width)
        )
        attn_out = attn_out.reshape(batch, self.dv, height, width)
        return torch.cat((conv_out, self.attn_out(attn_out)), dim=1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.aug = AugmentedConv(3, 20, 12, 8, 2)
        self.fc = nn.Linear(20, 10)

    def forward(self, x):
        return self.fc(F.relu(self.aug(x)).mean((2, 3)))


def build():
    return Net()


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = F.cross_entropy(model(torch.rand(B, 3, H, W)), torch.randint(0, 10, (B,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, H, W = 4, 4, 4"
CULPRITS = ["aug", "function:reshape"]
MENDED = [
    (
        "            attn_out, (batch, self.heads, self.dv // self.heads, height, width)\n",  # noqa: E501
        (
            "            attn_out.permute(0, 1, 3, 2),\n"
            "            (batch, self.heads, self.dv // self.heads, height, width),\n"
        ),
    ),
]
