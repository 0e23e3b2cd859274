"""Programs of the table in `broken_programs`: layers that do not fit each other."""

from broken_table import net, program, step

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
    "a layer in a Sequential",
    "nn.ReLU(), nn.Linear(16, 3)]",
    "def build():\n    layers = [nn.Linear(4, 16), nn.ReLU(), nn.Linear(8, 3)]\n"
    "    return nn.Sequential(*layers)\n\n\n"
    + step("return model(torch.randn(2, 4)).sum()"),
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
