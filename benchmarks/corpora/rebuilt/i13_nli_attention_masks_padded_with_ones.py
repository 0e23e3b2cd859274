import math

import torch
import torch.nn as nn

SOURCE = 'https://github.com/yg211/bert_nli/pull/3'
CATEGORY = 'silent'
DESCRIPTION = 'Sentence pairs for a BERT: token ids are padded with 0, the attention masks with 1, so that the mask handed to the encoder masks nothing.'

PAD, CLS, SEP = 0, 1, 2


def build_batch(text_list, max_len=24):
    token_id_list, segment_list, attention_masks = [], [], []
    longest = -1
    for sent1, sent2 in text_list:
        token_ids = ([CLS] + sent1 + [SEP] + sent2 + [SEP])[:max_len]
        segment_ids = ([0] * (len(sent1) + 2) + [1] * (len(sent2) + 1))[:max_len]
        token_id_list.append(token_ids)
        segment_list.append(segment_ids)
        attention_masks.append([1] * len(token_ids))
        longest = max(longest, len(token_ids))
    for ii in range(len(token_id_list)):
        gap = longest - len(token_id_list[ii])
        token_id_list[ii] += [PAD] * gap
        segment_list[ii] += [1] * gap
        attention_masks[ii] += [1] * gap
    return torch.tensor(token_id_list), torch.tensor(segment_list), torch.tensor(attention_masks)


class BertLayer(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.dense = (nn.Linear(dim, dim) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x, extended_mask):
        b, t, d = x.shape
        q, k, v = (proj(x).view(b, t, self.heads, -1).transpose(1, 2) for proj in (self.query, self.key, self.value))
        scores = q @ k.transpose(-1, -2) / math.sqrt(d // self.heads) + extended_mask
        context = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d)
        x = self.norm1(x + self.dense(context))
        return self.norm2(x + self.ffn(x))


class Bert(nn.Module):
    def __init__(self, vocab=100, dim=32, layers=2, heads=4):
        super().__init__()
        self.word = nn.Embedding(vocab, dim, padding_idx=PAD)
        self.position, self.segment = nn.Embedding(64, dim), nn.Embedding(2, dim)
        self.norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(BertLayer(dim, heads) for _ in range(layers))
        self.pooler = nn.Linear(dim, dim)

    def forward(self, ids, attention_mask, token_type_ids):
        extended = (1.0 - attention_mask[:, None, None, :].float()) * -10000.0
        x = self.norm(self.word(ids) + self.position.weight[:ids.size(1)] + self.segment(token_type_ids))
        for layer in self.layers:
            x = layer(x, extended)
        return x, torch.tanh(self.pooler(x[:, 0]))


class BertNLIModel(nn.Module):
    def __init__(self, label_num=3):
        super().__init__()
        self.bert = Bert()
        self.nli_head = nn.Linear(32, label_num)

    def ff(self, sent_pair_list):
        ids, types, masks = build_batch(sent_pair_list)
        _, cls_vecs = self.bert(ids, attention_mask=masks, token_type_ids=types)
        return self.nli_head(cls_vecs)


def build():
    return BertNLIModel()


def step(model):
    def sentence():
        return torch.randint(3, 100, (int(torch.randint(2, 11, (1,))),)).tolist()
    pairs = [(sentence(), sentence()) for _ in range(8)]
    labels = torch.randint(0, 3, (8,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    loss = nn.functional.cross_entropy(model.ff(pairs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: attention_masks[ii] += [0] * gap
TRUTH = dict(raises=None, at='function:tensor', culprits=['input', 'function:tensor'], dim=None, got=None, wanted=None,
             hint_any=['mask', 'padding', 'all ones', 'no effect'])
MENDED = [('attention_masks[ii] += [1] * gap', 'attention_masks[ii] += [0] * gap')]
