"""Programs of the table in `broken_programs`: losses that are written out, and networks
that learn from one that does not."""

from broken_table import program, sequential, step

PAIR = """class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.teacher = nn.Sequential(TEACHER)
        self.student = nn.Sequential(STUDENT)

    def forward(self, x):
        with torch.no_grad():
            wanted = self.teacher(x)
        return self.student(x), wanted


def build():
    return Pair()


"""


def pair(teacher, student):
    return PAIR.replace("TEACHER", teacher).replace("STUDENT", student)


def learnt(x, loss):
    return step(f"made, wanted = model(torch.randn({x}))", f"return {loss}")


program(
    "margins around class indices",
    "(F.one_hot(y, 6) * near + 0.5 * (1 - F.one_hot(y, 6)) * far)",
    sequential("nn.Linear(4, 8)", "nn.ReLU()", "nn.Linear(8, 6)")
    + step(
        "x, y = torch.randn(9, 4), torch.randint(0, 6, (9,))",
        "scores = model(x)",
        "near, far = F.relu(0.9 - scores) ** 2, F.relu(scores - 0.1) ** 2",
        "return (y * near + 0.5 * (1 - y) * far).sum()",
    ),
)
program(
    "probabilities less class indices",
    "F.one_hot(y, 3)",
    sequential("nn.Linear(4, 3)", "nn.Softmax(dim=1)")
    + step(
        "x, y = torch.randn(5, 4), torch.randint(0, 3, (5,))",
        "return (model(x) - y).pow(2).sum(1).mean()",
    ),
)
program(
    "logarithms times class indices that were cast",
    "F.one_hot(y, 7).float()",
    sequential("nn.Linear(4, 7)", "nn.LogSoftmax(dim=1)")
    + step(
        "x, y = torch.randn(11, 4), torch.randint(0, 7, (11,))",
        "return -(y.float() * model(x)).sum(1).mean()",
    ),
)
program(
    "a student's head is narrower than its teacher's",
    "self.student = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 24))",
    pair(
        "nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 24)",
        "nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 16)",
    )
    + learnt("5, 6", "F.mse_loss(made, wanted)"),
)
program(
    "a policy has other actions than its target network",
    "self.student = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 6))",
    pair(
        "nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 6)",
        "nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 5)",
    )
    + learnt("9, 4", "(made - wanted).abs().mean()"),
)
program(
    "a student that lacks its teacher's second stride",
    "self.student = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), "
    "nn.Conv2d(8, 6, 3, padding=1, stride=2))",
    pair(
        "nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 1)",
        "nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1)",
    )
    + learnt("2, 3, 32, 32", "(made - wanted).pow(2).mean()"),
)
program(
    "channels of a student against those of what was trained before",
    "nn.Conv2d(12, 10, 1)",
    pair(
        "nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 10, 1)",
        "nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 14, 1)",
    )
    + learnt("2, 3, 9, 9", "(made * wanted).sum(1).mean()"),
)
program(
    "positions for fewer steps than a batch has",
    "def __init__(self, width=8, max_len=20):",
    """
class Net(nn.Module):
    def __init__(self, width=8, max_len=16):
        super().__init__()
        self.lin = nn.Linear(6, width)
        self.pos = nn.Parameter(torch.zeros(1, max_len, width))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = self.lin(x)
        x = x + self.pos[:, : x.size(1)]
        return self.head(x.mean(1))


def build():
    return Net()


"""
    + step(
        "y = torch.randint(0, 3, (4,))",
        "return F.cross_entropy(model(torch.randn(4, 20, 6)), y)",
    ),
)
program(
    "a causal mask of fewer steps than a batch has",
    "def __init__(self, width=8, n_ctx=12):",
    """
class Block(nn.Module):
    def __init__(self, width, n_ctx):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        mask = torch.tril(torch.ones(n_ctx, n_ctx))
        self.register_buffer("mask", mask.view(1, n_ctx, n_ctx))

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) / q.size(-1) ** 0.5
        steps = x.size(1)
        scores = scores.masked_fill(self.mask[:, :steps, :steps] == 0, -1e9)
        return x + scores.softmax(-1) @ v


class Net(nn.Module):
    def __init__(self, width=8, n_ctx=10):
        super().__init__()
        self.blocks = nn.ModuleList([Block(width, n_ctx) for _ in range(2)])
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, -1])


def build():
    return Net()


""" + step("return model(torch.randn(4, 12, 8)).sum()"),
)
program(
    "positions of a grid for images of another size",
    "def __init__(self, size=24, patch=4, width=8):",
    """
class Net(nn.Module):
    def __init__(self, size=32, patch=4, width=8):
        super().__init__()
        self.cut = nn.Conv2d(3, width, patch, patch)
        self.pos = nn.Parameter(torch.zeros(1, width, size // patch, size // patch))
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        x = self.cut(x) + self.pos
        return self.head(x.mean((2, 3)))


def build():
    return Net()


""" + step("return model(torch.randn(2, 3, 24, 24)).sum()"),
)
TABLE = """
class Positions(nn.Module):
    def __init__(self, width, max_len):
        super().__init__()
        self.register_buffer("table", torch.MADE)

    def forward(self, x):
        return x OPERATOR self.table[CUT]


class Net(nn.Module):
    def __init__(self, width=8, max_len=14):
        super().__init__()
        self.emb = nn.Embedding(30, width)
        self.positions = Positions(width, max_len)
        self.head = nn.Linear(width, 30)

    def forward(self, x):
        return self.head(self.positions(self.emb(x)))


def build():
    return Net()


"""


def table(made, operator, cut):
    code = TABLE.replace("MADE", made).replace("OPERATOR", operator)
    return code.replace("CUT", cut)


program(
    "positions of a buffer for fewer steps",
    "def __init__(self, width=8, max_len=21):",
    table("zeros(1, max_len, width)", "+", ":, : x.size(1)")
    + step("return model(torch.randint(0, 30, (5, 21))).sum()"),
)
program(
    "factors by step, fewer than there are steps",
    "def __init__(self, width=8, max_len=16):",
    table("ones(max_len, width)", "*", ": x.shape[1]")
    + step(
        "x = torch.randint(0, 30, (3, 16))",
        "return F.cross_entropy(model(x).transpose(1, 2), x)",
    ),
)
program(
    "a causal mask that scores are multiplied by",
    "def __init__(self, width=8, n_ctx=9):",
    """
class Block(nn.Module):
    def __init__(self, width, n_ctx):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.register_buffer("mask", torch.ones(n_ctx, n_ctx).tril())

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) / q.size(-1) ** 0.5
        mask = self.mask[: x.size(1), : x.size(1)]
        scores = scores * mask - 1e9 * (1 - mask)
        return x + scores.softmax(-1) @ v


class Net(nn.Module):
    def __init__(self, width=8, n_ctx=4):
        super().__init__()
        self.one, self.two = Block(width, n_ctx), Block(width, n_ctx)

    def forward(self, x):
        return self.two(self.one(x))


def build():
    return Net()


""" + step("return model(torch.randn(6, 9, 8)).sum()"),
)


LOSS = """
class Loss(nn.Module):
    def forward(self, scores, y):
        LINES


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin, self.loss = nn.Linear(4, CLASSES), Loss()

    def forward(self, x, y):
        return self.loss(self.lin(x), y)


def build():
    return Net()


"""


def written(classes, batch, *lines):
    code = LOSS.replace("LINES", "\n        ".join(lines))
    return code.replace("CLASSES", str(classes)) + step(
        f"y = torch.randint(0, {classes}, ({batch},))",
        f"return model(torch.randn({batch}, 4), y)",
    )


program(
    "a loss module of margins around class indices",
    "F.one_hot(y, 6) * near",
    written(
        6,
        9,
        "near, far = F.relu(0.9 - scores) ** 2, F.relu(scores - 0.1) ** 2",
        "each = y * near + 0.5 * (1 - y) * far",
        "return each.sum(1).mean()",
    ),
)
program(
    "a loss module of squares of class indices",
    "scores.softmax(1) - F.one_hot(y, 5)",
    written(5, 12, "return (scores.softmax(1) - y).pow(2).sum(1).mean()"),
)
program(
    "a loss module of overlaps with class indices",
    "F.one_hot(y, 4) * p",
    written(
        4,
        10,
        "p = scores.softmax(1)",
        "both = (y * p).sum(0)",
        "return 1 - (2 * both / (p.sum(0) + 1)).mean()",
    ),
)
program(
    "a loss module of logarithms of class indices",
    "F.one_hot(y, 8)",
    written(8, 3, "return -(y * scores.log_softmax(1)).sum(1).mean()"),
)
