import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/BangLiu/QANet-PyTorch/issues/6'
CATEGORY = 'correct'
DESCRIPTION = 'QANet for reading comprehension: context and question attend to each other, a pointer gives the first and the last word of the answer.'


def mask_logits(inputs, mask):
    mask = mask.type(torch.float32)
    return inputs * mask + (1 - mask) * (-1e30)


class DepthwiseSeparableConv(nn.Module):
    def __init__(self, cin, cout, k):
        super().__init__()
        self.depthwise_conv = nn.Conv1d(cin, cin, k, groups=cin, padding=k // 2, bias=False)
        self.pointwise_conv = nn.Conv1d(cin, cout, 1)

    def forward(self, x):
        return F.relu(self.pointwise_conv(self.depthwise_conv(x)))


class CQAttention(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.w = nn.Linear(d_model * 3, 1, bias=False)

    def forward(self, C, Q, cmask, qmask):
        C, Q = C.transpose(1, 2), Q.transpose(1, 2)
        cmask, qmask = cmask.unsqueeze(2), qmask.unsqueeze(1)
        Lc, Lq = C.size(1), Q.size(1)
        Ct = C.unsqueeze(2).expand(-1, -1, Lq, -1)
        Qt = Q.unsqueeze(1).expand(-1, Lc, -1, -1)
        S = self.w(torch.cat([Ct, Qt, Ct * Qt], dim=3)).squeeze(3)
        S1 = F.softmax(mask_logits(S, qmask), dim=2)
        S2 = F.softmax(mask_logits(S, cmask), dim=1)
        A = torch.bmm(S1, Q)
        B = torch.bmm(torch.bmm(S1, S2.transpose(1, 2)), C)
        return torch.cat([C, A, C * A, C * B], dim=2).transpose(1, 2)


class Pointer(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.w1 = nn.Conv1d(d_model * 2, 1, 1, bias=False)
        self.w2 = nn.Conv1d(d_model * 2, 1, 1, bias=False)

    def forward(self, M1, M2, M3, mask):
        X1 = torch.cat([M1, M2], dim=1)
        X2 = torch.cat([M1, M3], dim=1)
        Y1 = mask_logits(self.w1(X1).squeeze(), mask)
        Y2 = mask_logits(self.w2(X2).squeeze(), mask)
        return Y1, Y2


class QANet(nn.Module):
    def __init__(self, vocab=90, d_model=20):
        super().__init__()
        self.emb = nn.Embedding(vocab, d_model, padding_idx=0)
        self.emb_enc = DepthwiseSeparableConv(d_model, d_model, 5)
        self.cq_att = CQAttention(d_model)
        self.cq_resizer = DepthwiseSeparableConv(d_model * 4, d_model, 5)
        self.model_enc = DepthwiseSeparableConv(d_model, d_model, 5)
        self.out = Pointer(d_model)

    def forward(self, Cwid, Qwid):
        cmask, qmask = Cwid != 0, Qwid != 0
        C = self.emb_enc(self.emb(Cwid).transpose(1, 2))
        Q = self.emb_enc(self.emb(Qwid).transpose(1, 2))
        M0 = self.cq_resizer(self.cq_att(C, Q, cmask, qmask))
        M1 = self.model_enc(M0)
        M2 = self.model_enc(M1)
        M3 = self.model_enc(M2)
        return self.out(M1, M2, M3, cmask)


def paragraphs(n, longest, shortest):
    ids = torch.randint(1, 90, (n, longest))
    return ids.masked_fill(torch.arange(longest) >= torch.randint(shortest, longest + 1, (n, 1)), 0)


def build():
    return QANet()


def step(model):
    context, question = paragraphs(6, 20, 12), paragraphs(6, 8, 4)
    y1 = torch.randint(0, 8, (6,))
    y2 = y1 + torch.randint(0, 4, (6,))
    p1, p2 = model(context, question)
    return F.cross_entropy(p1, y1) + F.cross_entropy(p2, y2)


# No softmax at the end: cross_entropy has it. The similarities are normalised over the question (S1) and over the context (S2).
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
