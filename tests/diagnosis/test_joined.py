"""Tensors are joined, and what meets them is as long as one of them."""

import pytest
import torch
import torch.nn.functional as F
from failures import failure_of, first
from torch import nn


class Joined(nn.Module):
    """Words and pictures in one sequence, which meets what is there of the words."""

    def __init__(self, how):
        super().__init__()
        self.words, self.pictures = nn.Embedding(20, 8), nn.Linear(5, 8)
        self.score, self.how = nn.Linear(8, 1), how

    def forward(self, words, pictures, about_words):
        x = torch.cat([self.words(words), self.pictures(pictures)], dim=1)
        if self.how == "mask":
            scores = x @ x.transpose(1, 2) + about_words[:, None, :]
            return scores.softmax(-1) @ x
        if self.how == "weights":
            return x * about_words[..., None]
        return F.binary_cross_entropy_with_logits(self.score(x)[..., 0], about_words)


@pytest.mark.parametrize(
    "how, words, pictures", [("mask", 13, 9), ("weights", 6, 7), ("labels", 4, 4)]
)
def test_what_is_there_for_one_of_the_joined_alone_leads_to_the_join(
    how, words, pictures
):
    model = Joined(how)

    def step():
        about_words = torch.rand(3, words)
        tokens = torch.randint(0, 20, (3, words))
        return model(tokens, torch.randn(3, pictures, 5), about_words).sum()

    found = failure_of(model, step)
    assert first(found) == ("function", "cat")
    text = f"joins {words} + {pictures}; there are {words} there"
    assert text in found.culprits[0].reason
