"""Programs over graphs: what there is one of for a node meets what there is one of for
an edge."""

from broken_table import net, program, step

EDGES = [
    "src = torch.arange(11) % 7",
    "dst = torch.arange(11) * 2 % 7",
    "h = self.lin(x)",
]
program(
    "messages added without being picked by edge",
    "index_add(0, dst, h[src])",
    net(
        ["self.lin = nn.Linear(6, 5)"],
        [*EDGES, "return torch.zeros(7, 5).index_add(0, dst, h).sum()"],
    )
    + step("return model(torch.randn(7, 6))"),
)
program(
    "messages scattered without being picked by edge",
    "h[src]",
    net(
        ["self.lin = nn.Linear(6, 5)"],
        [
            *EDGES,
            "to = dst[:, None].expand(-1, 5)",
            "return torch.zeros(7, 5).scatter_add(0, to, h).sum()",
        ],
    )
    + step("return model(torch.randn(7, 6))"),
)
program(
    "weights of edges times features of nodes",
    "h[src] * weight",
    net(
        ["self.lin = nn.Linear(6, 5)", "self.weigh = nn.Linear(2, 1)"],
        [
            *EDGES,
            "weight = self.weigh(torch.ones(11, 2))",
            "m = h * weight",
            "return torch.zeros(7, 5).index_add(0, dst, m).sum()",
        ],
    )
    + step("return model(torch.randn(7, 6))"),
)
