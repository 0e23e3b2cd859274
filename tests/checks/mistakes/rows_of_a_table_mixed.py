"""The encoder takes (time, batch, features), and is given (batch, fields, features):
rows of the table mix.

https://github.com/IBM/TabFormer/pull/14
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, N, D = 5, 7, 12


class TabFormerEmbeddings(nn.Module):
    def __init__(self, vocabulary=60):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, D)
        layer = nn.TransformerEncoderLayer(d_model=D, nhead=3, dim_feedforward=D)
        self.transformer_encoder = nn.TransformerEncoder(layer, num_layers=1)
        self.lin_proj = nn.Linear(D * N, 16)

    def forward(self, input_ids):
        embeds = self.word_embeddings(input_ids)
        embeds = self.transformer_encoder(embeds)
        return self.lin_proj(embeds.flatten(1))


class Fraud(nn.Module):
    def __init__(self):
        super().__init__()
        self.tab, self.head = TabFormerEmbeddings(), nn.Linear(16, 2)

    def forward(self, input_ids):
        return self.head(F.relu(self.tab(input_ids)))


def build():
    return Fraud()


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    loss = F.cross_entropy(
        model(torch.randint(0, 60, (B, N))), torch.randint(0, 2, (B,))
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, N, D = 12, 12, 12"
CULPRITS = [
    "tab",
    "tab.transformer_encoder",
    "tab.transformer_encoder.layers.0",
    "tab.transformer_encoder.layers.0.self_attn",
]
MENDED = [
    (
        "        layer = nn.TransformerEncoderLayer(d_model=D, nhead=3, dim_feedforward=D)\n",  # noqa: E501
        (
            "        layer = nn.TransformerEncoderLayer(\n"
            "            d_model=D, nhead=3, dim_feedforward=D, batch_first=True\n"
            "        )\n"
        ),
    ),
]
