import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/slot-attention/blob/master/slot_attention/slot_attention.py'
CATEGORY = 'correct'
DESCRIPTION = 'Slot attention normalizes over the slots (dim=1, the queries) so that they compete, then averages over the inputs.'


class SlotAttention(nn.Module):
    def __init__(self, num_slots, dim, iters=3, eps=1e-8, hidden_dim=32):
        super().__init__()
        self.num_slots, self.iters, self.eps = num_slots, iters, eps
        self.scale = dim ** -0.5
        self.slots_mu = nn.Parameter(torch.randn(1, 1, dim))
        self.slots_logsigma = nn.Parameter(torch.zeros(1, 1, dim))
        self.to_q, self.to_k, self.to_v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.gru = nn.GRUCell(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden_dim), nn.ReLU(inplace=True), nn.Linear(hidden_dim, dim))
        self.norm_input, self.norm_slots, self.norm_pre_ff = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, inputs):
        b, n, d = inputs.shape
        mu = self.slots_mu.expand(b, self.num_slots, -1)
        sigma = self.slots_logsigma.exp().expand(b, self.num_slots, -1)
        slots = mu + sigma * torch.randn(mu.shape)
        inputs = self.norm_input(inputs)
        k, v = self.to_k(inputs), self.to_v(inputs)
        for _ in range(self.iters):
            slots_prev = slots
            q = self.to_q(self.norm_slots(slots))
            dots = torch.einsum('bid,bjd->bij', q, k) * self.scale
            attn = dots.softmax(dim=1) + self.eps
            attn = attn / attn.sum(dim=-1, keepdim=True)
            updates = torch.einsum('bjd,bij->bid', v, attn)
            slots = self.gru(updates.reshape(-1, d), slots_prev.reshape(-1, d))
            slots = slots.reshape(b, -1, d)
            slots = slots + self.mlp(self.norm_pre_ff(slots))
        return slots


class SlotAutoEncoder(nn.Module):
    def __init__(self, num_slots=4, dim=16, size=(4, 6)):
        super().__init__()
        self.size = size
        self.encoder = nn.Sequential(nn.Conv2d(3, dim, 5, 2, 2), nn.ReLU(), nn.Conv2d(dim, dim, 3, padding=1))
        self.pos = nn.Parameter(torch.randn(1, size[0] * size[1], dim) * 0.1)
        self.slot_attention = SlotAttention(num_slots, dim)
        self.decoder = nn.Sequential(nn.ConvTranspose2d(dim, dim, 4, 2, 1), nn.ReLU(), nn.Conv2d(dim, 4, 3, padding=1))

    def forward(self, image):
        b = image.size(0)
        x = self.encoder(image).flatten(2).transpose(1, 2) + self.pos
        slots = self.slot_attention(x)
        tiled = slots.reshape(-1, slots.size(-1))[:, :, None, None].expand(-1, -1, *self.size)
        out = self.decoder(tiled)
        out = out.view(b, -1, *out.shape[1:])
        recons, masks = out.split([3, 1], dim=2)
        masks = masks.softmax(dim=1)
        return (recons * masks).sum(dim=1), masks


def build():
    return SlotAutoEncoder()


def step(model):
    image = torch.rand(4, 3, 8, 12)
    recon, masks = model(image)
    loss = F.mse_loss(recon, image)
    loss.backward()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
