import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/espnet/espnet/issues/1086'
CATEGORY = 'loss'
DESCRIPTION = 'Tacotron 2 with reduction factor 2: the decoder makes one attention row for two frames, the guided attention mask has a row for every frame.'


class Args:
    idim, odim, eunits, dunits, adim, prenet = 30, 20, 32, 40, 24, 16
    reduction_factor = 2
    use_guided_attn_loss = True
    guided_attn_loss_sigma = 0.4
    bce_pos_weight = 5.0


class GuidedAttentionLoss(nn.Module):
    def __init__(self, sigma=0.4, alpha=1.0):
        super().__init__()
        self.sigma, self.alpha = sigma, alpha

    def forward(self, att_ws, ilens, olens):
        guided = self._make_guided_attention_masks(ilens, olens)
        masks = self._make_masks(ilens, olens)
        losses = guided * att_ws
        return self.alpha * torch.mean(losses.masked_select(masks))

    def _make_guided_attention_masks(self, ilens, olens):
        masks = torch.zeros(len(ilens), int(max(olens)), int(max(ilens)))
        for idx, (ilen, olen) in enumerate(zip(ilens.tolist(), olens.tolist())):
            grid_x, grid_y = torch.meshgrid(torch.arange(olen).float(), torch.arange(ilen).float(), indexing='ij')
            masks[idx, :olen, :ilen] = 1.0 - torch.exp(-(grid_y / ilen - grid_x / olen) ** 2 / (2 * self.sigma ** 2))
        return masks

    @staticmethod
    def _make_masks(ilens, olens):
        in_masks = torch.arange(int(max(ilens))) < ilens[:, None]
        out_masks = torch.arange(int(max(olens))) < olens[:, None]
        return out_masks.unsqueeze(-1) & in_masks.unsqueeze(-2)


class Encoder(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.embed = nn.Embedding(args.idim, args.eunits, padding_idx=0)
        self.convs = nn.Sequential(nn.Conv1d(args.eunits, args.eunits, 5, padding=2), nn.BatchNorm1d(args.eunits), nn.ReLU(), nn.Dropout(0.5))
        self.blstm = nn.LSTM(args.eunits, args.eunits // 2, batch_first=True, bidirectional=True)

    def forward(self, xs):
        return self.blstm(self.convs(self.embed(xs).transpose(1, 2)).transpose(1, 2))[0]


class Decoder(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.odim, self.r = args.odim, args.reduction_factor
        self.prenet = nn.Sequential(nn.Linear(args.odim, args.prenet), nn.ReLU(), nn.Dropout(0.5))
        self.lstm = nn.LSTMCell(args.prenet + args.eunits, args.dunits)
        self.mlp_enc = nn.Linear(args.eunits, args.adim)
        self.mlp_dec = nn.Linear(args.dunits, args.adim, bias=False)
        self.gvec = nn.Linear(args.adim, 1)
        self.feat_out = nn.Linear(args.dunits + args.eunits, args.odim * args.reduction_factor, bias=False)
        self.prob_out = nn.Linear(args.dunits + args.eunits, args.reduction_factor)

    def forward(self, hs, ilens, ys):
        if self.r > 1:
            ys = ys[:, self.r - 1::self.r]
        pad = torch.arange(hs.size(1)) >= ilens[:, None]
        z = c = hs.new_zeros(hs.size(0), self.lstm.hidden_size)
        prev, pre = ys.new_zeros(hs.size(0), self.odim), self.mlp_enc(hs)
        outs, logits, att_ws = [], [], []
        for y in ys.transpose(0, 1):
            e = self.gvec(torch.tanh(pre + self.mlp_dec(z).unsqueeze(1))).squeeze(2).masked_fill(pad, -1e9)
            w = F.softmax(e, dim=1)
            att_c = torch.sum(hs * w.unsqueeze(2), dim=1)
            z, c = self.lstm(torch.cat([att_c, self.prenet(prev)], dim=1), (z, c))
            zc = torch.cat([z, att_c], dim=1)
            outs.append(self.feat_out(zc).view(hs.size(0), self.odim, -1))
            logits.append(self.prob_out(zc))
            att_ws.append(w)
            prev = y
        return torch.cat(outs, dim=2).transpose(1, 2), torch.cat(logits, dim=1), torch.stack(att_ws, dim=1)


class Tacotron2(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.reduction_factor = args.reduction_factor
        self.enc, self.dec = Encoder(args), Decoder(args)
        self.bce = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(args.bce_pos_weight))
        self.attn_loss = GuidedAttentionLoss(args.guided_attn_loss_sigma)

    def forward(self, xs, ilens, ys, labels, olens):
        outs, logits, att_ws = self.dec(self.enc(xs), ilens, ys)
        if self.reduction_factor > 1:
            olens = olens.new([olen - olen % self.reduction_factor for olen in olens])
            max_out = int(max(olens))
            ys, labels = ys[:, :max_out], labels[:, :max_out]
            labels[:, -1] = 1.0
        masks = (torch.arange(ys.size(1)) < olens[:, None]).unsqueeze(-1)
        l1 = F.l1_loss(outs.masked_select(masks), ys.masked_select(masks))
        bce = self.bce(logits.masked_select(masks.squeeze(-1)), labels.masked_select(masks.squeeze(-1)))
        return l1 + bce + self.attn_loss(att_ws, ilens, olens)


def build():
    return Tacotron2(Args)


def step(model):
    ilens, olens = torch.tensor([15, 12, 9]), torch.tensor([48, 41, 30])
    xs = torch.randint(1, 30, (3, 15)) * (torch.arange(15) < ilens[:, None])
    labels = (torch.arange(48) >= olens[:, None] - 1).float()
    return model(xs, ilens, torch.randn(3, 48, 20), labels, olens)


# real fix: the guided attention loss gets olens // reduction_factor
# offending tensor: guided (3, 48, 15) where att_ws is (3, 24, 15)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['attn_loss', 'function:zeros', 'function:setitem', 'function:new', 'function:stack'], dim=1, got=48, wanted=24,
             hint_any=['reduction', 'olens', 'zeros', 'mask', '// 2', '::2'])
MENDED = [('self.attn_loss(att_ws, ilens, olens)', 'self.attn_loss(att_ws, ilens, olens // self.reduction_factor)')]
