"""Programs of the table in `broken_programs` that a loss fails in."""

from broken_table import net, program, sequential, step

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
    "class dimension last",
    ".transpose(1, 2)",
    sequential("nn.Embedding(30, 8)", "nn.Linear(8, 30)")
    + step(
        "x = torch.randint(0, 30, (4, 11))",
        "return F.cross_entropy(model(x), x)",
    ),
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
    "class indices as floats",
    ".long()",
    sequential("nn.Linear(4, 3)")
    + step("y = torch.zeros(8)", "return F.cross_entropy(model(torch.randn(8, 4)), y)"),
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
    "the next token as the target, the first left in",
    "tokens[:, 1:].reshape(-1)",
    sequential("nn.Embedding(50, 16)", "nn.Linear(16, 50)")
    + step(
        "tokens = torch.randint(0, 50, (4, 12))",
        "logits = model(tokens[:, :-1])",
        "return F.cross_entropy(logits.reshape(-1, 50), tokens.reshape(-1))",
    ),
)
program(
    "the next note as the target, the first left in",
    "model(notes[:, :-1]).transpose(1, 2), notes[:, 1:])",
    net(
        [
            "self.embed = nn.Embedding(30, 8)",
            "self.gru = nn.GRU(8, 16, batch_first=True)",
            "self.head = nn.Linear(16, 30)",
        ],
        ["out, _ = self.gru(self.embed(x))", "return self.head(out)"],
    )
    + step(
        "notes = torch.randint(0, 30, (3, 20))",
        "return F.cross_entropy(model(notes[:, :-1]).transpose(1, 2), notes)",
    ),
)
program(
    "two characters ahead as the target, the first two left in",
    "text[:, 2:].contiguous().view(-1)",
    sequential("nn.Embedding(40, 12)", "nn.Linear(12, 40)")
    + step(
        "text = torch.randint(0, 40, (5, 9))",
        "scores = model(text[:, :-2]).view(-1, 40)",
        "return F.nll_loss(scores.log_softmax(1), text.contiguous().view(-1))",
    ),
)
