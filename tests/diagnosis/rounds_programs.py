"""Programs whose lines run more than once, or build more than one layer.

Each is a correct program as text, and the slip that breaks it (old and new text). Sizes
are written as names, so that they can be all distinct and all equal.
"""

DISTINCT = "B, A, H, W, K = 6, 10, 20, 14, 3"
EQUAL = "B, A, H, W, K = 4, 4, 4, 4, 4"

HEAD = (
    "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n{}\n\n\n"
)

#: name: (program, the right text, the slip)
PROGRAMS = {}


def program(name, right, slip, init, forward, step, before=""):
    code = before
    code += "class Net(nn.Module):\n    def __init__(self):\n"
    code += "        super().__init__()\n"
    code += "".join(f"        {line}\n" for line in init)
    code += "\n    def forward(self, x):\n"
    code += "".join(f"        {line}\n" for line in forward)
    code += "\n\ndef build():\n    return Net()\n\n\ndef step(model):\n"
    code += "".join(f"    {line}\n" for line in step)
    assert code.count(right) == 1, name
    PROGRAMS[name] = code, right, slip


def sized(code, distinct):
    return HEAD.format(DISTINCT if distinct else EQUAL) + code


X = "x, y = torch.randn(B, A), torch.randint(0, K, (B,))"
LOSS = "return F.cross_entropy(model(x), y)"
LAYERS = "nn.Linear(A, H), nn.Linear(H, W), nn.Linear(W, K)"

# -- loops

program(
    "a loop over convolutions that are given another layout",
    "torch.randn(B, A, 1)",
    "torch.randn(B, 1, A + 1)",
    ["self.layers = nn.ModuleList([nn.Conv1d(A, H, 1), nn.Conv1d(H, K, 1)])"],
    [
        "for layer in self.layers:",
        "    x = torch.tanh(layer(x))",
        "return x.flatten(1)",
    ],
    ["x, y = torch.randn(B, A, 1), torch.randint(0, K, (B,))", LOSS],
)
program(
    "a loop over layers of which the second is built for another width",
    "nn.Linear(H, W)",
    "nn.Linear(H + 1, W)",
    [f"self.layers = nn.ModuleList([{LAYERS}])"],
    ["for layer in self.layers:", "    x = torch.tanh(layer(x))", "return x"],
    [X, LOSS],
)
program(
    "a residual loop by number",
    "nn.Linear(A, A) for _ in range(3)",
    "nn.Linear(A, A + 1) for _ in range(3)",
    [
        "self.layers = nn.ModuleList([nn.Linear(A, A) for _ in range(3)])",
        "self.out = nn.Linear(A, K)",
    ],
    [
        "for i in range(len(self.layers)):",
        "    x = x + torch.relu(self.layers[i](x))",
        "return self.out(x)",
    ],
    [X, LOSS],
)

# -- names that are used again

program(
    "one-hot labels against probabilities, in two statements",
    "labels = F.one_hot(labels, K).permute(0, 3, 1, 2)",
    "labels = labels[:, : H + 1]",
    ["self.conv = nn.Conv2d(3, K, 1)"],
    ["return self.conv(x).softmax(1)"],
    [
        "labels = torch.randint(0, K, (B, H, W))",
        "labels = F.one_hot(labels, K).permute(0, 3, 1, 2)",
        "p = model(torch.rand(B, 3, H, W))",
        "tp = (labels * p).sum((2, 3))",
        "fp = ((1 - labels) * p).sum((2, 3))",
        "return 1 - (tp / (tp + fp + 1)).mean()",
    ],
)
program(
    "a mask that is used in two statements",
    "torch.ones(B, A, 1)",
    "torch.ones(B, A)",
    ["self.score = nn.Linear(W, H + 1)"],
    ["return self.score(x)"],
    [
        "mask = torch.ones(B, A, 1)",
        "scores = model(torch.randn(B, A, W))",
        "kept = scores * mask",
        "lost = scores * (1 - mask)",
        "return (kept + lost).mean()",
    ],
)
program(
    "a weight for each sample that is used in two statements",
    "torch.rand(B, 1)",
    "torch.rand(B)",
    ["self.fc = nn.Linear(A, K)"],
    ["return self.fc(x)"],
    [
        "weight = torch.rand(B, 1)",
        "error = model(torch.randn(B, A)) - 1",
        "low = (weight * error.abs()).mean()",
        "high = (weight * error.square()).mean()",
        "return low + high",
    ],
)
program(
    "a gain and a shift for each channel in one statement",
    "maps * gain[..., None, None] + shift[..., None, None] + level",
    "maps * gain + shift + level",
    ["self.conv = nn.Conv2d(3, H, 1)", "self.style = nn.Linear(A, 2 * H)"],
    [
        "gain, shift = self.style(x.mean((2, 3))[:, :1].expand(-1, A)).chunk(2, 1)",
        "maps = self.conv(x)",
        "level = torch.zeros(1, 1, 1, 1)",
        "maps = maps * gain[..., None, None] + shift[..., None, None] + level",
        "return maps.mean((2, 3))",
    ],
    ["return model(torch.rand(B, 3, W, W)).square().mean()"],
)

# -- functions that build layers

program(
    "connectors built by a function over two zipped lists",
    "zip([A, H], [H, W])",
    "zip([A, H + 1], [H, W])",
    [
        "pairs = zip([A, H], [H, W])",
        "self.steps = nn.ModuleList([connector(a, b) for a, b in pairs])",
        "self.out = nn.Linear(W, K)",
    ],
    ["for one in self.steps:", "    x = one(x)", "return self.out(x)"],
    [X, LOSS],
    before="def connector(a, b):\n"
    "    return nn.Sequential(nn.Linear(a, b), nn.ReLU())\n\n\n",
)
program(
    "a head built by a function from a dict of widths",
    '{"given": A, "hidden": H}',
    '{"given": A + 2, "hidden": H}',
    ['self.head = head({"given": A, "hidden": H})'],
    ["return self.head(x)"],
    [X, LOSS],
    before="def head(widths):\n"
    '    first = nn.Linear(widths["given"], widths["hidden"])\n'
    '    return nn.Sequential(first, nn.ReLU(), nn.Linear(widths["hidden"], K))\n\n\n',
)
program(
    "layers built by a function from a list of sizes",
    "mlp([A, H, W, K])",
    "mlp([A + 1, H, W, K])",
    ["self.net = mlp([A, H, W, K])"],
    ["return self.net(x)"],
    [X, LOSS],
    before="def mlp(sizes):\n    layers = []\n"
    "    for a, b in zip(sizes, sizes[1:]):\n"
    "        layers += [nn.Linear(a, b), nn.Tanh()]\n"
    "    return nn.Sequential(*layers)\n\n\n",
)

# -- list comprehensions of layers

program(
    "a head for each width in a list",
    "for w in (A, H)]",
    "for w in (A, H + 1)]",
    [
        "self.heads = nn.ModuleList([nn.Linear(w, K) for w in (A, H)])",
        "self.inner = nn.Linear(A, H)",
    ],
    [
        "parts = [x, torch.relu(self.inner(x))]",
        "return sum(head(part) for head, part in zip(self.heads, parts))",
    ],
    [X, LOSS],
)
program(
    "convolutions built from a list of widths",
    "self.widths = [A, H, W]",
    "self.widths = [A + 1, H, W]",
    [
        "self.widths = [A, H, W]",
        "self.convs = nn.ModuleList(",
        "    [",
        "        nn.Sequential(nn.Conv1d(self.widths[i], self.widths[i + 1], 1))",
        "        for i in range(len(self.widths) - 1)",
        "    ]",
        ")",
        "self.out = nn.Linear(W, K)",
    ],
    ["for conv in self.convs:", "    x = conv(x)", "return self.out(x.mean(-1))"],
    ["x, y = torch.randn(B, A, 5), torch.randint(0, K, (B,))", LOSS],
)
program(
    "recurrent layers in a list, whose outputs are joined",
    "nn.Linear(2 * H, K)",
    "nn.Linear(H + 1, K)",
    [
        "self.runs = nn.ModuleList([nn.GRU(A, H, batch_first=True) for _ in range(2)])",
        "self.out = nn.Linear(2 * H, K)",
    ],
    [
        "joined = torch.cat([run(x)[0][:, -1] for run in self.runs], dim=1)",
        "return self.out(joined)",
    ],
    ["x, y = torch.randn(B, W, A), torch.randint(0, K, (B,))", LOSS],
)

# -- nn.Sequential(*[...])

program(
    "a Sequential of a list of equal layers behind another",
    "nn.Linear(A, H)",
    "nn.Linear(A, H + 1)",
    [
        "self.first = nn.Linear(A, H)",
        "self.rest = nn.Sequential(*[nn.Linear(H, H) for _ in range(3)])",
        "self.out = nn.Linear(H, K)",
    ],
    ["return self.out(self.rest(torch.relu(self.first(x))))"],
    [X, LOSS],
)
program(
    "a Sequential of a list that is appended to",
    "layers.append(nn.Linear(W, K))",
    "layers.append(nn.Linear(W + 1, K))",
    [
        "layers = [nn.Linear(A, W)]",
        "layers.append(nn.ReLU())",
        "layers.append(nn.Linear(W, K))",
        "self.net = nn.Sequential(*layers)",
    ],
    ["return self.net(x)"],
    [X, LOSS],
)
program(
    "a Sequential of blocks of convolutions before a flatten",
    "nn.Linear(W * 5, K)",
    "nn.Linear(W * 3, K)",
    [
        "blocks = [nn.Conv1d(a, b, 1) for a, b in ((A, H), (H, W))]",
        "self.net = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(W * 5, K))",
    ],
    ["return self.net(x)"],
    ["x, y = torch.randn(B, A, 5), torch.randint(0, K, (B,))", LOSS],
)
