from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/microsoft/SwinBERT/issues/52'
CATEGORY = 'layer'
DESCRIPTION = 'Video captioning: max_img_seq_length=18 is given to the mask maker, the video backbone delivers 441 tokens: scores of 471, mask of 48.'


@dataclass
class Args:
    max_seq_length: int = 30
    max_seq_a_length: int = 30
    max_img_seq_length: int = 18
    hidden: int = 32
    heads: int = 4
    vocab: int = 60
    mask_prob: float = 0.3
    frames: int = 18


class CaptionTensorizer:
    def __init__(self, args):
        self.args = args
        n = args.max_seq_length + args.max_img_seq_length
        self._triangle_mask = torch.tril(torch.ones(n, n))

    def tensorize(self, caption):
        a = self.args
        ids = F.pad(caption, (0, a.max_seq_length - len(caption)))
        masked_pos = (torch.rand(a.max_seq_length) < a.mask_prob) & (torch.arange(a.max_seq_length) < len(caption))
        masked_pos[1] = True
        input_ids = ids.masked_fill(masked_pos, 3)
        n = a.max_seq_length + a.max_img_seq_length
        attention_mask = torch.zeros(n, n)
        c_len = len(caption)
        attention_mask[:c_len, :c_len] = self._triangle_mask[:c_len, :c_len]
        l_start, l_end = a.max_seq_length, n
        attention_mask[l_start:l_end, l_start:l_end] = 1
        attention_mask[:c_len, l_start:l_end] = 1
        attention_mask.fill_diagonal_(1)
        return input_ids, attention_mask, masked_pos, ids


def collate(samples):
    return [torch.stack(parts) for parts in zip(*samples)]


class BertSelfAttention(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.h, self.d = args.heads, args.hidden // args.heads
        self.query, self.key, self.value = (nn.Linear(args.hidden, args.hidden) for _ in range(3))
        self.dropout = nn.Dropout(0.1)

    def split(self, x):
        return x.view(x.size(0), x.size(1), self.h, self.d).permute(0, 2, 1, 3)

    def forward(self, x, attention_mask):
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        attention_scores = torch.matmul(q, k.transpose(-1, -2)) / self.d ** 0.5
        attention_scores = attention_scores + attention_mask
        probs = self.dropout(attention_scores.softmax(-1))
        return torch.matmul(probs, v).permute(0, 2, 1, 3).flatten(2)


class VideoCaptioner(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.swin = nn.Conv3d(3, 24, (2, 8, 8), stride=(2, 8, 8))
        self.fc = nn.Linear(24, args.hidden)
        self.word = nn.Embedding(args.vocab, args.hidden, padding_idx=0)
        self.norm = nn.LayerNorm(args.hidden)
        self.attention = BertSelfAttention(args)
        self.out = nn.Sequential(nn.Linear(args.hidden, args.hidden), nn.GELU(), nn.LayerNorm(args.hidden))
        self.cls = nn.Linear(args.hidden, args.vocab)

    def forward(self, video, input_ids, attention_mask, masked_pos, ids):
        vid_feats = self.fc(self.swin(video).flatten(2).transpose(1, 2))
        x = self.norm(torch.cat([self.word(input_ids), vid_feats], 1))
        extended = (1.0 - attention_mask.unsqueeze(1)) * -10000.0
        x = self.out(x + self.attention(x, extended))
        text = x[:, :self.args.max_seq_length]
        return F.cross_entropy(self.cls(text[masked_pos]), ids[masked_pos])


def build():
    return VideoCaptioner(Args())


def step(model):
    tensorizer = CaptionTensorizer(model.args)
    batch = collate([tensorizer.tensorize(torch.randint(4, 60, (n,))) for n in (12, 9, 17)])
    video = torch.randn(3, 3, model.args.frames, 56, 56)
    return model(video, *batch)


# real fix: --max_img_seq_length has to be the number of video tokens, 441 = 9 * 7 * 7
# offending tensor: extended mask (3, 1, 48, 48), scores (3, 4, 471, 471)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'function:zeros', 'function:stack', 'function:unsqueeze', ''], dim=3, got=48, wanted=471,
             hint_any=['mask', '441', 'zeros', 'max_img_seq_length', 'img'])
MENDED = [('max_img_seq_length: int = 18', 'max_img_seq_length: int = 441')]
