import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

SOURCE = 'https://blog.gitcode.com/6b019b11d945c835e60f51187ff916cc.html (TRL RewardTrainer, 882 against 568)'
CATEGORY = 'layer'
DESCRIPTION = 'Reward model on preference pairs: chosen and rejected answers are padded apart, each to its own longest, and the rewards of the two are subtracted position by position.'


class DecoderLayer(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.o = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.heads = heads

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.ln2(x))


class RewardModel(nn.Module):
    def __init__(self, vocab=120, dim=32, heads=8, layers=2):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim, padding_idx=0)
        self.layers = nn.ModuleList(DecoderLayer(dim, heads) for _ in range(layers))
        self.v_head = nn.Linear(dim, 1, bias=False)

    def forward(self, input_ids):
        x = self.embed(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.v_head(x).squeeze(-1)


class PreferenceCollator:
    def __init__(self, pad_token_id=0, max_length=48):
        self.pad_token_id, self.max_length = pad_token_id, max_length

    def pad(self, sequences):
        sequences = [s[:self.max_length] for s in sequences]
        return pad_sequence(sequences, batch_first=True, padding_value=self.pad_token_id)

    def __call__(self, features):
        return {'input_ids_chosen': self.pad([f['chosen'] for f in features]),
                'input_ids_rejected': self.pad([f['rejected'] for f in features])}


def compute_loss(model, inputs):
    rewards_chosen = model(inputs['input_ids_chosen'])
    rewards_rejected = model(inputs['input_ids_rejected'])
    return -F.logsigmoid(rewards_chosen - rewards_rejected).mean()


def build():
    return RewardModel()


def step(model):
    features = [{'chosen': torch.randint(1, 120, (18 + 2 * i,)), 'rejected': torch.randint(1, 120, (9 + 2 * i,))} for i in range(8)]
    loader = torch.utils.data.DataLoader(features, batch_size=8, collate_fn=PreferenceCollator())
    return compute_loss(model, next(iter(loader)))


# real fix (article): one length for both, padding='max_length'
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['function:pad_sequence', 'input', 'function:sub'], dim=1, got=23, wanted=32,
             hint_any=['pad', 'length', '23', '32'])
MENDED = [('return pad_sequence(sequences, batch_first=True, padding_value=self.pad_token_id)',
           'sequences = [F.pad(s, (0, self.max_length - len(s)), value=self.pad_token_id) for s in sequences]\n        return torch.stack(sequences)')]
