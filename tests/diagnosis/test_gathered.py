"""Rows are picked by an index before they meet what there is one of for each entry."""

import torch
from failures import Runs, failure
from torch import nn


def unpacked(self, x, edges):
    src, dst = edges
    h = self.lin(x)
    return torch.zeros_like(h).index_add(0, dst, h)


def test_the_other_row_of_the_edges_is_the_index_and_not_the_one_in_use():
    edges = torch.stack([torch.arange(11) % 7, torch.arange(11) * 3 % 7])
    found = failure(Runs(unpacked, lin=nn.Linear(6, 5)), torch.randn(7, 6), edges)
    assert found.fixes[0].line.endswith("index_add(0, dst, h[src])")
    assert found.fixes[0].status == "verified"
    assert "h[dst]" not in str(found)


class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(6, 5)

    def forward(self, x, edges, weight):
        h = self.lin(x)
        return h * weight


def test_rows_of_an_index_that_has_no_names_are_written_by_their_number():
    edges = torch.stack([torch.arange(11) % 7, torch.arange(11) * 3 % 7])
    found = failure(Weighted(), torch.randn(7, 6), edges, torch.ones(11, 1))
    lines = [fix.line for fix in found.fixes]
    assert "return h[edges[0]] * weight" in lines
    assert "return h[edges[1]] * weight" in lines
    # both fit, and nothing tells which is meant
    assert "verified" not in [fix.status for fix in found.fixes]


def test_an_index_of_another_length_is_not_offered():
    edges = torch.stack([torch.arange(9) % 7, torch.arange(9) * 3 % 7])
    found = failure(Weighted(), torch.randn(7, 6), edges, torch.ones(11, 1))
    assert "h[edges" not in str(found)


class Looped(nn.Module):
    """Adds a loop for each node to the edges, and forgets them among their features."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(6, 5)
        self.edge = nn.Linear(2, 5)

    def forward(self, x, edges, features):
        loops = torch.arange(x.size(0))
        src = torch.cat([edges[:, 0], loops])
        dst = torch.cat([edges[:, 1], loops])
        messages = self.lin(x)[src]
        of_edges = self.edge(features)
        messages = messages + of_edges
        return torch.zeros_like(messages).index_add(0, dst, messages)


def test_an_index_of_nodes_does_not_pick_edges():
    edges = torch.stack([torch.arange(11) % 7, torch.arange(11) * 3 % 7], dim=1)
    found = failure(Looped(), torch.randn(7, 6), edges, torch.ones(11, 2))
    assert "of_edges[src]" not in str(found)
    assert "of_edges[dst]" not in str(found)
