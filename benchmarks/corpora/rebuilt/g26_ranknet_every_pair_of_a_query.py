import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own program after https://github.com/allegro/allRank (rankNet loss)'
CATEGORY = 'correct'
DESCRIPTION = 'Learning to rank: differences of every pair of documents by a column minus a row on purpose, padded documents are masked, the loss is the mean over ordered pairs only; 6 queries with 6 documents of 6 numbers.'

PADDED = -1.0


class Ranker(nn.Module):
    def __init__(self, features=6, dim=16, heads=2):
        super().__init__()
        self.input_norm = nn.LayerNorm(features)
        self.fc = nn.Linear(features, dim)
        self.encoder = nn.TransformerEncoderLayer(dim, heads, 32, dropout=0.0, batch_first=True)
        self.output_layer = nn.Linear(dim, 1)

    def forward(self, x, mask):
        x = F.relu(self.fc(self.input_norm(x)))
        x = self.encoder(x, src_key_padding_mask=mask)
        return self.output_layer(x).squeeze(dim=2)


def ranknet(y_pred, y_true):
    mask = y_true == PADDED
    y_pred = y_pred.masked_fill(mask, 0.0)
    pred_diffs = y_pred.unsqueeze(2) - y_pred.unsqueeze(1)
    true_diffs = y_true.unsqueeze(2) - y_true.unsqueeze(1)
    valid = ~(mask.unsqueeze(2) | mask.unsqueeze(1))
    the_mask = (true_diffs > 0) & valid
    weight = true_diffs[the_mask].abs()
    target = (true_diffs > 0).float()[the_mask]
    return F.binary_cross_entropy_with_logits(pred_diffs[the_mask], target, weight=weight)


def build():
    return Ranker()


def step(model):
    x, y = torch.randn(6, 6, 6), torch.randint(0, 5, (6, 6)).float()
    lengths = torch.tensor([6, 5, 6, 4, 3, 6])
    padding = torch.arange(6).unsqueeze(0) >= lengths.unsqueeze(1)
    y = y.masked_fill(padding, PADDED)
    return ranknet(model(x, padding), y)


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
