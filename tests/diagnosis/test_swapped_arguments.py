"""Two tensors that stand in each other's place in a call of a module."""

import torch
from failures import failure, failure_of, first
from torch import nn


class Regions(nn.Module):
    def __init__(self):
        super().__init__()
        self.look, self.place = nn.Linear(48, 24), nn.Linear(4, 24)

    def forward(self, maps, boxes):
        return self.look(maps) + self.place(boxes)


class Matching(nn.Module):
    def __init__(self):
        super().__init__()
        self.regions, self.head = Regions(), nn.Linear(24, 3)

    def forward(self, maps, boxes):
        return self.head(self.regions(boxes, maps))


def test_the_module_is_handed_them_in_the_other_order():
    found = failure(Matching(), torch.randn(6, 9, 48), torch.rand(6, 9, 4))
    assert first(found) == ("module", "regions")
    assert found.fixes[0].line == "return self.head(self.regions(maps, boxes))"
    assert found.fixes[0].status == "verified"


class Captions(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.image = nn.Embedding(30, 8), nn.Linear(16, 8)
        self.rnn = nn.GRU(8, 8, batch_first=True)

    def forward(self, features, tokens):
        first = self.image(features).unsqueeze(1)
        return self.rnn(torch.cat([first, self.words(tokens)], dim=1))[0]


def test_features_and_tokens():
    model = Captions()
    features, tokens = torch.randn(4, 16), torch.randint(0, 30, (4, 11))
    found = failure_of(model, lambda: model(tokens, features))
    lines = [fix.line for fix in found.fixes]
    assert any("model(features, tokens)" in line for line in lines), lines


def test_arguments_of_one_shape_are_left_as_they_are():
    found = failure(Regions(), torch.randn(6, 9, 5), torch.rand(6, 9, 5))
    assert "in the place of the other" not in str(found)
