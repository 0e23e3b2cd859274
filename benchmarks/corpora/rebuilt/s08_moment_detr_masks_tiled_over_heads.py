import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/line/lighthouse/pull/77'
CATEGORY = 'silent'
DESCRIPTION = 'The (N, Lv, Lt) mask is tiled with repeat(nhead, 1, 1), but MultiheadAttention reads its N*nhead rows sample by sample.'


class T2VEncoderLayer(nn.Module):
    def __init__(self, d_model, nhead, dim_feedforward=32, dropout=0.0):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(d_model, nhead, dropout=dropout)
        self.linear1 = nn.Linear(d_model, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.nhead = nhead

    def forward(self, src, padding, pos, video_length):
        pos_src = src + pos
        q, k, v = pos_src[:video_length], pos_src[video_length:], src[video_length:]
        qmask, kmask = padding[:, :video_length].unsqueeze(2), padding[:, video_length:].unsqueeze(1)
        attn_mask = torch.matmul(qmask.float(), kmask.float()).bool().repeat(self.nhead, 1, 1)
        src2 = self.self_attn(q, k, value=v, attn_mask=attn_mask, key_padding_mask=padding[:, video_length:])[0]
        video = self.norm1(src[:video_length] + src2)
        video = self.norm2(video + self.linear2(F.relu(self.linear1(video))))
        return torch.cat([video, src[video_length:]])


class T2VEncoder(nn.Module):
    def __init__(self, d_model, nhead, num_layers):
        super().__init__()
        self.layers = nn.ModuleList([T2VEncoderLayer(d_model, nhead) for _ in range(num_layers)])

    def forward(self, src, padding, pos, video_length):
        for layer in self.layers:
            src = layer(src, padding, pos, video_length)
        return src


class QDDETR(nn.Module):
    def __init__(self, d_model=16, nhead=4, num_queries=3, vid_dim=20, txt_dim=12):
        super().__init__()
        self.input_vid_proj = nn.Linear(vid_dim, d_model)
        self.input_txt_proj = nn.Linear(txt_dim, d_model)
        self.pos = nn.Parameter(torch.randn(32, 1, d_model) * 0.1)
        self.t2v_encoder = T2VEncoder(d_model, nhead, 2)
        self.decoder = nn.MultiheadAttention(d_model, nhead)
        self.query_embed = nn.Embedding(num_queries, d_model)
        self.span_embed = nn.Linear(d_model, 2)
        self.saliency_proj = nn.Linear(d_model, 1)

    def forward(self, vid, vid_mask, txt, txt_mask):
        src = torch.cat([self.input_vid_proj(vid), self.input_txt_proj(txt)], dim=1).permute(1, 0, 2)
        padding = ~torch.cat([vid_mask, txt_mask], dim=1).bool()
        lv = vid.size(1)
        memory = self.t2v_encoder(src, padding, self.pos[:src.size(0)], lv)[:lv]
        queries = self.query_embed.weight.unsqueeze(1).repeat(1, vid.size(0), 1)
        hs = self.decoder(queries, memory, memory, key_padding_mask=padding[:, :lv])[0]
        return self.span_embed(hs).sigmoid().transpose(0, 1), self.saliency_proj(memory).squeeze(-1).transpose(0, 1)


def lengths_to_mask(lengths, n):
    return (torch.arange(n) < torch.tensor(lengths).unsqueeze(1)).float()


def build():
    return QDDETR()


def step(model):
    vid, txt = torch.randn(4, 9, 20), torch.randn(4, 6, 12)
    vid_mask, txt_mask = lengths_to_mask([9, 5, 7, 3], 9), lengths_to_mask([6, 4, 2, 5], 6)
    spans, saliency = torch.rand(4, 1, 2), torch.rand(4, 9)
    pred_spans, pred_saliency = model(vid, vid_mask, txt, txt_mask)
    loss_span = (pred_spans - spans).abs().sum(-1).min(dim=1).values.mean()
    loss_saliency = ((pred_saliency - saliency) ** 2 * vid_mask).sum() / vid_mask.sum()
    loss = loss_span + loss_saliency
    loss.backward()
    return loss.detach()


# rows of a 3-D attn_mask are batch_idx * num_heads + head_idx: repeat_interleave(nhead, dim=0); here batch == nhead == 4
TRUTH = dict(raises=None, at='function:repeat', culprits=['function:repeat'], dim=0, got=None, wanted=None,
             hint_any=['repeat_interleave', 'interleave', 'order', 'sample'])
MENDED = [('.bool().repeat(self.nhead, 1, 1)', '.bool().repeat_interleave(self.nhead, dim=0)')]
