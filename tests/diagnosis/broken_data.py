"""Programs of the table in `broken_programs`: data of another size, layout or type than
the model was written for, and shapes that hold for one batch alone."""

from broken_table import net, program, sequential, step

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
    "flatten over the batch",
    "flatten(1)",
    net(
        ["self.conv = nn.Conv2d(3, 4, 3, padding=1)", "self.fc = nn.Linear(256, 10)"],
        ["x = torch.flatten(self.conv(x))", "return self.fc(x)"],
    )
    + step("return model(torch.randn(2, 3, 8, 8)).sum()"),
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
    "input of doubles",
    "x.float()",
    sequential("nn.Linear(4, 1)", "nn.Sigmoid()")
    + step("x = torch.ones(8, 4, dtype=torch.float64)", "return model(x).sum()"),
)
program(
    "index beyond the table",
    "nn.Embedding(13, 4)",
    net(["self.emb = nn.Embedding(10, 4)"], ["return self.emb(x)"])
    + step("return model(torch.tensor([[1, 12, 3]])).sum()"),
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
    "a view that merges the batch",
    "x.size(0), -1",
    net(
        ["self.conv = nn.Conv2d(1, 4, 3)", "self.fc = nn.Linear(144, 10)"],
        ["x = self.conv(x)", "x = x.view(-1, 36)", "return self.fc(F.relu(x))"],
    )
    + step("return model(torch.randn(2, 1, 8, 8)).sum()"),
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
