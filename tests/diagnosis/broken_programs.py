"""Programs that fail, each by one slip: `build()` gives the model, `step(model)` runs
it. A table for the tests of fixes; `WANTED` is what some first fix must say."""

PROGRAMS = {}
WANTED = {}


def program(name, wanted, code):
    PROGRAMS[name] = (
        "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n\n"
        + code.strip()
        + "\n"
    )
    WANTED[name] = wanted


def sequential(*layers):
    return "def build():\n    return nn.Sequential(" + ", ".join(layers) + ")\n\n\n"


def step(*lines):
    return "def step(model):\n" + "".join(f"    {line}\n" for line in lines)


def net(init, forward):
    head = "class Net(nn.Module):\n    def __init__(self):\n"
    head += "        super().__init__()\n"
    body = "".join(f"        {line}\n" for line in init)
    body += "\n    def forward(self, x):\n"
    body += "".join(f"        {line}\n" for line in forward)
    return head + body + "\n\ndef build():\n    return Net()\n\n\n"


program(
    "A2 labels for every step, the last step used",
    ".permute(0, 2, 1)",
    net(
        [
            "self.emb = nn.Embedding(50, 8)",
            "self.lstm = nn.LSTM(8, 16, batch_first=True)",
            "self.fc = nn.Linear(16, 73)",
        ],
        ["out, (h, c) = self.lstm(self.emb(x))", "return self.fc(h[-1])"],
    )
    + step(
        "x = torch.randint(0, 50, (2, 20))",
        "y = torch.randint(0, 73, (2, 20))",
        "return F.cross_entropy(model(x), y)",
    ),
)
program(
    "A2 with the output of every step thrown away",
    "self.fc(self.lstm(self.emb(x))[0]).permute(0, 2, 1)",
    net(
        [
            "self.emb = nn.Embedding(50, 8)",
            "self.lstm = nn.LSTM(8, 16, batch_first=True)",
            "self.fc = nn.Linear(16, 73)",
        ],
        ["_, (h_n, _) = self.lstm(self.emb(x))", "return self.fc(h_n[-1])"],
    )
    + step(
        "x = torch.randint(0, 50, (2, 20))",
        "y = torch.randint(0, 73, (2, 20))",
        "return F.cross_entropy(model(x), y)",
    ),
)
program(
    "A3 width of the last layer",
    "self.fc2 = nn.Linear(50, 33)",
    net(
        ["self.fc1 = nn.Linear(100, 50)", "self.fc2 = nn.Linear(50, 73)"],
        ["return self.fc2(F.relu(self.fc1(x)))"],
    )
    + step("return F.mse_loss(model(torch.randn(2, 100)), torch.randn(2, 33))"),
)
program(
    "B1 column of class indices",
    "target.squeeze(1)",
    sequential("nn.Linear(20, 10)")
    + step(
        "logits = model(torch.randn(32, 20))",
        "target = torch.randint(0, 10, (32, 1))",
        "return F.cross_entropy(logits, target)",
    ),
)
program(
    "B3 lengths of 10 and 9",
    "[:, :9]",
    sequential("nn.Linear(8, 20)")
    + step(
        "logits = model(torch.randn(32, 10, 8))",
        "target = torch.randint(0, 20, (32, 9))",
        "logits = logits.view(-1, 20)",
        "target = target.view(-1)",
        "return F.cross_entropy(logits, target)",
    ),
)
program(
    "C2 lengths of 10 and 8, padding ignored",
    "[:, :8]",
    net(
        [
            "self.emb = nn.Embedding(1000, 8)",
            "self.rnn = nn.RNN(8, 16, batch_first=True)",
            "self.fc = nn.Linear(16, 1000)",
        ],
        ["out, h = self.rnn(self.emb(x))", "return self.fc(out)"],
    )
    + step(
        "out = model(torch.randint(1, 1000, (1, 10)))",
        "y = torch.randint(1, 1000, (1, 8))",
        "criterion = nn.CrossEntropyLoss(ignore_index=0)",
        "return criterion(out.view(-1, 1000), y.view(-1))",
    ),
)
program(
    "C3 images of 28 where 32 was reckoned with",
    "nn.Linear(1568, 10)",
    net(
        [
            "self.conv1 = nn.Conv2d(3, 16, 3, padding=1)",
            "self.conv2 = nn.Conv2d(16, 32, 3, padding=1)",
            "self.pool = nn.MaxPool2d(2)",
            "self.fc = nn.Linear(32 * 8 * 8, 10)",
        ],
        [
            "x = self.pool(F.relu(self.conv1(x)))",
            "x = self.pool(F.relu(self.conv2(x)))",
            "return self.fc(x.flatten(1))",
        ],
    )
    + step("return model(torch.randn(1, 3, 28, 28)).sum()"),
)
program(
    "D2 one-hot integers",
    "y.argmax(1)",
    sequential("nn.Linear(20, 5)")
    + step(
        "y = F.one_hot(torch.randint(0, 5, (8,)), 5)",
        "return F.cross_entropy(model(torch.randn(8, 20)), y)",
    ),
)
program(
    "D3 30 inputs, 32 targets",
    "[:30]",
    sequential("nn.Linear(20, 5)")
    + step(
        "x, y = torch.randn(30, 20), torch.randint(0, 5, (32,))",
        "return F.cross_entropy(model(x), y)",
    ),
)
program(
    "column of predictions",
    "torch.ones(8)[..., None]",
    sequential("nn.Linear(20, 1)")
    + step(
        "p = model(torch.randn(8, 20))",
        "return F.binary_cross_entropy_with_logits(p, torch.ones(8))",
    ),
)
program(
    "in_features",
    "self.fc2 = nn.Linear(64, 10)",
    net(
        ["self.fc1 = nn.Linear(20, 64)", "self.fc2 = nn.Linear(32, 10)"],
        ["return self.fc2(F.relu(self.fc1(x)))"],
    )
    + step("return model(torch.randn(4, 20)).sum()"),
)
program(
    "in_channels, keeping stride and no bias",
    "self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False)",
    net(
        [
            "self.conv1 = nn.Conv2d(3, 8, 3)",
            "self.conv2 = nn.Conv2d(6, 16, 3, stride=2, padding=1, bias=False)",
        ],
        ["return self.conv2(self.conv1(x))"],
    )
    + step("return model(torch.randn(2, 3, 32, 32)).sum()"),
)
program(
    "num_features",
    "nn.BatchNorm2d(8)",
    net(
        ["self.conv = nn.Conv2d(3, 8, 3)", "self.bn = nn.BatchNorm2d(16)"],
        ["return self.bn(self.conv(x))"],
    )
    + step("return model(torch.randn(2, 3, 32, 32)).sum()"),
)
program(
    "no flatten before a linear layer",
    "flatten(1)",
    net(
        ["self.conv = nn.Conv2d(3, 4, 3, padding=1)", "self.fc = nn.Linear(256, 10)"],
        ["x = F.relu(self.conv(x))", "return self.fc(x)"],
    )
    + step("return model(torch.randn(2, 3, 8, 8)).sum()"),
)
program(
    "flatten over the batch",
    "flatten(1)",
    net(
        ["self.conv = nn.Conv2d(3, 4, 3, padding=1)", "self.fc = nn.Linear(256, 10)"],
        ["x = torch.flatten(self.conv(x))", "return self.fc(x)"],
    )
    + step("return model(torch.randn(2, 3, 8, 8)).sum()"),
)
program(
    "class dimension last",
    ".transpose(1, 2)",
    sequential("nn.Embedding(30, 8)", "nn.Linear(8, 30)")
    + step(
        "x = torch.randint(0, 30, (4, 11))",
        "return F.cross_entropy(model(x), x)",
    ),
)
program(
    "channels last images",
    ".permute(0, 3, 1, 2)",
    sequential("nn.Conv2d(3, 4, 3)", "nn.ReLU()", "nn.Conv2d(4, 4, 3)")
    + step("x = torch.rand(2, 20, 20, 3)", "return model(x).sum()"),
)
program(
    "gray images",
    ".expand(-1, 3, -1, -1)",
    sequential("nn.Conv2d(3, 4, 3)", "nn.ReLU()")
    + step("x = torch.rand(2, 1, 20, 20)", "return model(x).sum()"),
)
program(
    "images with alpha",
    "x[:, :3]",
    sequential("nn.Conv2d(3, 4, 3)", "nn.ReLU()")
    + step("x = torch.rand(2, 4, 20, 20)", "return model(x).sum()"),
)
program(
    "target of doubles",
    "y.float()",
    sequential("nn.Linear(4, 1)", "nn.Sigmoid()")
    + step(
        "y = torch.ones(8, 1, dtype=torch.float64)",
        "return F.binary_cross_entropy(model(torch.randn(8, 4)), y)",
    ),
)
program(
    "input of doubles",
    "x.float()",
    sequential("nn.Linear(4, 1)", "nn.Sigmoid()")
    + step("x = torch.ones(8, 4, dtype=torch.float64)", "return model(x).sum()"),
)
program(
    "class indices as floats",
    ".long()",
    sequential("nn.Linear(4, 3)")
    + step("y = torch.zeros(8)", "return F.cross_entropy(model(torch.randn(8, 4)), y)"),
)
program(
    "index beyond the table",
    "nn.Embedding(13, 4)",
    net(["self.emb = nn.Embedding(10, 4)"], ["return self.emb(x)"])
    + step("return model(torch.tensor([[1, 12, 3]])).sum()"),
)
program(
    "class beyond the classes",
    "nn.Linear(4, 6)",
    net(["self.fc = nn.Linear(4, 5)"], ["return self.fc(x)"])
    + step(
        "y = torch.tensor([0, 5])",
        "return F.cross_entropy(model(torch.ones(2, 4)), y)",
    ),
)
program(
    "lstm output handed on whole",
    "[0]",
    net(
        ["self.lstm = nn.LSTM(4, 8, batch_first=True)", "self.fc = nn.Linear(8, 2)"],
        ["out = self.lstm(x)", "return self.fc(out)"],
    )
    + step("return model(torch.randn(2, 5, 4)).sum()"),
)
program(
    "matrix product without transpose",
    "transpose(-2, -1)",
    net(
        ["self.q = nn.Linear(4, 8)", "self.k = nn.Linear(4, 8)"],
        ["q, k = self.q(x), self.k(x)", "return torch.bmm(q, k)"],
    )
    + step("return model(torch.randn(2, 5, 4)).sum()"),
)
program(
    "cat along the wrong dimension",
    "dim=1",
    net(
        ["self.a = nn.Linear(4, 8)", "self.b = nn.Linear(4, 6)"],
        ["return torch.cat([self.a(x), self.b(x)], dim=0)"],
    )
    + step("return model(torch.randn(2, 4)).sum()"),
)
program(
    "U-Net with an odd size",
    "output_padding=1",
    net(
        [
            "self.down = nn.Conv2d(3, 4, 3, padding=1)",
            "self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)",
        ],
        [
            "skip = self.down(x)",
            "up = self.up(F.max_pool2d(skip, 2))",
            "return torch.cat([skip, up], dim=1)",
        ],
    )
    + step("return model(torch.randn(1, 3, 25, 25)).sum()"),
)
program(
    "hidden state for a fixed batch",
    "x.shape[0]",
    net(
        ["self.rnn = nn.GRU(4, 8, batch_first=True)"],
        [
            "h = torch.zeros(1, 32, 8)",
            "out, h = self.rnn(x, h)",
            "return out",
        ],
    )
    + step("return model(torch.randn(20, 5, 4)).sum()"),
)
program(
    "squeeze that drops a batch of one",
    "squeeze(1)",
    sequential("nn.Conv2d(3, 1, 1)")
    + step(
        "label = torch.rand(1, 8, 8)",
        "pred = model(torch.randn(1, 3, 8, 8)).squeeze()",
        "return F.binary_cross_entropy_with_logits(pred, label)",
    ),
)
program(
    "view with another number of elements",
    "x.view(x.size(0), -1)",
    net(
        ["self.conv = nn.Conv2d(3, 4, 3)"],
        ["x = self.conv(x)", "x = x.view(-1, 5 * 5 * 4)", "return x.sum()"],
    )
    + step("return model(torch.randn(2, 3, 9, 9))"),
)
program(
    # channels last for the layer alone: it normalises as it was built to, and a saved
    # state still fits; nn.GroupNorm(1, 16) would normalise over the pixels too
    "LayerNorm over channels",
    "self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)",
    net(
        ["self.conv = nn.Conv2d(3, 16, 1)", "self.norm = nn.LayerNorm(16)"],
        ["return self.norm(self.conv(x))"],
    )
    + step("return model(torch.randn(2, 3, 8, 8)).sum()"),
)
program(
    "conv1d on (batch, time, features)",
    "transpose(1, 2)",
    net(
        ["self.conv = nn.Conv1d(6, 4, 3)"],
        ["return self.conv(x)"],
    )
    + step("x = torch.randn(2, 20, 6)", "return model(x).sum()"),
)
program(
    "weights by sample against rows",
    "None]",
    sequential("nn.Linear(4, 3)")
    + step(
        "w = torch.rand(8)",
        "out = model(torch.randn(8, 4))",
        "return (out * w).sum()",
    ),
)
program(
    "a layer in a Sequential",
    "nn.ReLU(), nn.Linear(16, 3)]",
    "def build():\n    layers = [nn.Linear(4, 16), nn.ReLU(), nn.Linear(8, 3)]\n"
    "    return nn.Sequential(*layers)\n\n\n"
    + step("return model(torch.randn(2, 4)).sum()"),
)
program(
    "a view that merges the batch",
    "x.size(0), -1",
    net(
        ["self.conv = nn.Conv2d(1, 4, 3)", "self.fc = nn.Linear(144, 10)"],
        ["x = self.conv(x)", "x = x.view(-1, 36)", "return self.fc(F.relu(x))"],
    )
    + step("return model(torch.randn(2, 1, 8, 8)).sum()"),
)
program(
    "a decoder that is short in both layers",
    "self.up2 = nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1, output_padding=1)",
    net(
        [
            "self.down = nn.Conv2d(1, 8, 3, stride=4, padding=1)",
            "self.up1 = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1)",
            "self.up2 = nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1)",
        ],
        ["return self.up2(F.relu(self.up1(F.relu(self.down(x)))))"],
    )
    + step("x = torch.randn(3, 1, 28, 28)", "return F.mse_loss(model(x), x)"),
)
program(
    "a decoder in a Sequential that is short in all layers",
    "nn.ConvTranspose1d(4, 1, 3, 2, 1, output_padding=1)",
    "def build():\n    return nn.Sequential(\n"
    "        nn.Conv1d(1, 8, 3, stride=8, padding=1),\n"
    "        nn.ConvTranspose1d(8, 6, 3, 2, 1), nn.ReLU(),\n"
    "        nn.ConvTranspose1d(6, 4, 3, 2, 1), nn.ReLU(),\n"
    "        nn.ConvTranspose1d(4, 1, 3, 2, 1),\n    )\n\n\n"
    + step("x = torch.randn(5, 1, 64)", "return F.l1_loss(model(x), x)"),
)
program(
    "class indices cast for a loss of every element",
    "one_hot(y, 6).float()",
    sequential("nn.Linear(4, 8)", "nn.ReLU()", "nn.Linear(8, 6)")
    + step(
        "x, y = torch.randn(5, 4), torch.randint(0, 6, (5,))",
        "return F.binary_cross_entropy_with_logits(model(x), y.float())",
    ),
)
program(
    "classes counted from one",
    "y - 1",
    sequential("nn.Linear(4, 8)", "nn.ReLU()", "nn.Linear(8, 5)")
    + step(
        "x, y = torch.randn(10, 4), torch.arange(10) % 5 + 1",
        "return F.cross_entropy(model(x), y)",
    ),
)
program(
    "pixels' classes counted from one",
    "masks - 1",
    sequential("nn.Conv2d(3, 7, 1)")
    + step(
        "x, masks = torch.randn(2, 3, 6, 7), torch.arange(7).expand(2, 6, 7) + 1",
        "return F.cross_entropy(model(x), masks)",
    ),
)
program(
    "words counted from one",
    "words - 1",
    sequential("nn.Embedding(9, 4)")
    + step("words = torch.arange(1, 10)", "return model(words).sum()"),
)
program(
    "sequences of several lengths stacked",
    "nn.utils.rnn.pad_sequence(sentences, batch_first=True)",
    sequential("nn.Embedding(9, 4)", "nn.Linear(4, 3)")
    + step(
        "sentences = [torch.randint(0, 9, (n,)) for n in (3, 5, 4)]",
        "return model(torch.stack(sentences)).sum()",
    ),
)
program(
    "frames of several clips stacked",
    "nn.utils.rnn.pad_sequence(clips, batch_first=True)",
    sequential("nn.Linear(6, 3)")
    + step(
        "clips = [torch.randn(n, 6) for n in (8, 5)]",
        "return model(torch.stack(clips)).sum()",
    ),
)
program(
    "digits of 12 where 8 was reckoned with",
    "nn.Linear(288, 24)",
    net(
        [
            "self.conv1 = nn.Conv2d(1, 16, 3, padding=1)",
            "self.conv2 = nn.Conv2d(16, 32, 3, padding=1)",
            "self.fc1 = nn.Linear(32 * 2 * 2, 24)",
            "self.fc2 = nn.Linear(24, 7)",
        ],
        [
            "x = F.max_pool2d(F.relu(self.conv1(x)), 2)",
            "x = F.max_pool2d(F.relu(self.conv2(x)), 2)",
            "return self.fc2(F.relu(self.fc1(x.flatten(1))))",
        ],
    )
    + step(
        "x, y = torch.rand(9, 1, 12, 12), torch.randint(0, 7, (9,))",
        "return F.cross_entropy(model(x), y)",
    ),
)
program(
    "pictures of 40 where 32 was reckoned with",
    "nn.Linear(1600, 24)",
    net(
        [
            "self.conv1 = nn.Conv2d(3, 8, 3, padding=1)",
            "self.conv2 = nn.Conv2d(8, 16, 3, padding=1)",
            "self.fc1 = nn.Linear(16 * 8 * 8, 24)",
            "self.fc2 = nn.Linear(24, 7)",
        ],
        [
            "x = F.max_pool2d(F.relu(self.conv1(x)), 2)",
            "x = F.max_pool2d(F.relu(self.conv2(x)), 2)",
            "return self.fc2(F.relu(self.fc1(x.flatten(1))))",
        ],
    )
    + step(
        "x, y = torch.rand(9, 3, 40, 40), torch.randint(0, 7, (9,))",
        "return F.cross_entropy(model(x), y)",
    ),
)
program(
    "pictures of 48 where 24 was reckoned with",
    "nn.Linear(1440, 24)",
    net(
        [
            "self.conv1 = nn.Conv2d(3, 6, 3, padding=1)",
            "self.conv2 = nn.Conv2d(6, 10, 3, padding=1)",
            "self.fc1 = nn.Linear(10 * 6 * 6, 24)",
            "self.fc2 = nn.Linear(24, 7)",
        ],
        [
            "x = F.max_pool2d(F.relu(self.conv1(x)), 2)",
            "x = F.max_pool2d(F.relu(self.conv2(x)), 2)",
            "return self.fc2(F.relu(self.fc1(x.flatten(1))))",
        ],
    )
    + step(
        "x, y = torch.rand(9, 3, 48, 48), torch.randint(0, 7, (9,))",
        "return F.cross_entropy(model(x), y)",
    ),
)
