"""More programs of the table in `broken_programs`: calls whose operands do not go
together, in dimensions left out, put in another order, or picked on one side only."""

from broken_table import net, program, sequential, step

program(
    "gather of whole rows by a flat index",
    "top[..., None].expand(-1, -1, x.size(2))",
    net(
        ["self.score = nn.Linear(3, 1)", "self.out = nn.Linear(3, 2)"],
        [
            "top = self.score(x).squeeze(-1).topk(4, dim=1).indices",
            "return self.out(torch.gather(x, 1, top)).sum()",
        ],
    )
    + step("return model(torch.randn(2, 9, 3))"),
)
program(
    "scatter of whole rows by a flat index",
    "to[..., None].expand(-1, out.size(1))",
    net(
        ["self.lin = nn.Linear(5, 7)"],
        [
            "to = torch.arange(8) % 3",
            "out = torch.zeros(3, 7)",
            "return out.scatter_add(0, to, self.lin(x)).sum()",
        ],
    )
    + step("return model(torch.randn(8, 5))"),
)
program(
    "einsum with two letters swapped",
    "'bhij,bhjd->bhid'",
    net(
        ["self.v = nn.Linear(6, 8)"],
        [
            "v = self.v(x).view(2, 10, 2, 4).transpose(1, 2)",
            "a = torch.ones(2, 2, 10, 10)",
            "return torch.einsum('bhij,bhdj->bhid', a, v).sum()",
        ],
    )
    + step("return model(torch.randn(2, 10, 6))"),
)
program(
    "codes looked up with channels last",
    "view(2, 8, 8, -1).permute(0, 3, 1, 2)",
    net(
        ["self.conv = nn.Conv2d(3, 5, 1)", "self.codes = nn.Embedding(9, 5)"],
        [
            "z = self.conv(x)",
            "q = self.codes(torch.zeros(128, dtype=torch.long)).view(2, 8, 8, -1)",
            "return F.mse_loss(q, z) + F.mse_loss(q.detach(), z)",
        ],
    )
    + step("return model(torch.randn(2, 3, 8, 8))"),
)
program(
    "a cache with the heads before the steps",
    ".transpose(1, 2)",
    net(
        [
            "self.k = nn.Linear(6, 12)",
            "self.register_buffer('cache', torch.zeros(2, 3, 16, 4))",
        ],
        [
            "k = self.k(x).view(2, 7, 3, 4)",
            "self.cache[:, :, :7] = k.detach()",
            "return k.sum()",
        ],
    )
    + step("return model(torch.randn(2, 7, 6))"),
)
program(
    "a padding mask for scores of several heads",
    "[:, None, None, :]",
    net(
        ["self.q = nn.Linear(8, 8)"],
        [
            "mask = x.sum(-1) > 0",
            "q = self.q(x).view(6, 9, 2, 4).transpose(1, 2)",
            "scores = q @ q.transpose(-2, -1)",
            "return scores.masked_fill(mask, 0.0).sum()",
        ],
    )
    + step("return model(torch.randn(6, 9, 8))"),
)
program(
    "mm of sequences",
    "x.matmul(self.weight)",
    net(
        ["self.weight = nn.Parameter(torch.ones(6, 5))"],
        ["return x.mm(self.weight).sum()"],
    )
    + step("return model(torch.randn(2, 7, 6))"),
)
program(
    "embeddings stacked and joined with numbers",
    "e.flatten(1)",
    net(
        ["self.emb = nn.Embedding(5, 4)", "self.fc = nn.Linear(11, 2)"],
        [
            "ids = torch.zeros(8, dtype=torch.long)",
            "e = torch.stack([self.emb(ids), self.emb(ids)], dim=1)",
            "return self.fc(torch.cat([e, x], dim=1)).sum()",
        ],
    )
    + step("return model(torch.randn(8, 3))"),
)
program(
    "labels of all rows against the masked ones",
    "labels[mask]",
    sequential("nn.Linear(4, 3)")
    + step(
        "mask = torch.arange(10) % 3 == 0",
        "labels = torch.zeros(10, dtype=torch.long)",
        "out = model(torch.randn(10, 4))",
        "return F.cross_entropy(out[mask], labels)",
    ),
)
program(
    "maps with channels last into a pooling",
    "self.norm(x).permute(0, 3, 1, 2)",
    net(
        [
            "self.norm = nn.LayerNorm(12)",
            "self.pool = nn.AdaptiveAvgPool2d(1)",
            "self.head = nn.Linear(12, 3)",
        ],
        ["x = self.pool(self.norm(x))", "return self.head(x.flatten(1)).sum()"],
    )
    + step("return model(torch.randn(2, 4, 4, 12))"),
)
program(
    "a layer that took its width in an earlier call",
    "self.actor = nn.Linear(8, 3)",
    net(
        ["self.actor = nn.Linear(8, 6)", "self.critic = nn.Linear(11, 1)"],
        [
            "given = self.critic(torch.cat([x, torch.zeros(4, 3)], 1))",
            "own = self.critic(torch.cat([x, self.actor(x)], 1))",
            "return (given - own).sum()",
        ],
    )
    + step("return model(torch.randn(4, 8))"),
)
program(
    "slices that a pooling keeps and a transposed convolution doubles",
    "(4, 4, (1, 2, 2), stride=(1, 2, 2))",
    net(
        [
            "self.conv = nn.Conv3d(1, 4, 3, padding=1)",
            "self.pool = nn.MaxPool3d((1, 2, 2))",
            "self.up = nn.ConvTranspose3d(4, 4, 2, stride=2)",
            "self.out = nn.Conv3d(8, 1, 1)",
        ],
        [
            "e = self.conv(x)",
            "d = torch.cat([self.up(self.pool(e)), e], dim=1)",
            "return self.out(d).sum()",
        ],
    )
    + step("return model(torch.randn(1, 1, 6, 8, 8))"),
)
program(
    "features joined along the batch for a head that takes both",
    "dim=1)",
    net(
        ["self.a = nn.Linear(3, 8)", "self.head = nn.Linear(16, 2)"],
        ["return self.head(torch.cat([self.a(x), self.a(-x)])).sum()"],
    )
    + step("return model(torch.randn(6, 3))"),
)
program(
    "a product of a tensor with itself",
    "torch.bmm(f, f.transpose(-2, -1))",
    net(
        ["self.conv = nn.Conv1d(3, 6, 3)"],
        ["f = self.conv(x)", "return torch.bmm(f, f).sum()"],
    )
    + step("return model(torch.randn(2, 3, 9))"),
)
program(
    "a state repeated for beams and a memory that is not",
    "memory.repeat_interleave(3, dim=0)",
    net(
        ["self.rnn = nn.GRU(5, 8, batch_first=True)"],
        [
            "memory, last = self.rnn(x)",
            "state = last[-1].repeat_interleave(3, dim=0)",
            "return torch.bmm(memory, state.unsqueeze(2)).sum()",
        ],
    )
    + step("return model(torch.randn(4, 7, 5))"),
)
program(
    "queries without a batch",
    "self.latents.expand(x.shape[0], -1, -1)",
    net(
        [
            "self.latents = nn.Parameter(torch.zeros(6, 8))",
            "self.attend = nn.MultiheadAttention(8, 2, batch_first=True)",
        ],
        ["return self.attend(self.latents, x, x)[0].sum()"],
    )
    + step("return model(torch.randn(2, 5, 8))"),
)
