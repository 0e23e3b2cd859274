import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/fawazsammani/knowing-when-to-look-adaptive-attention/issues/6'
CATEGORY = 'silent'
DESCRIPTION = 'Image captioning with adaptive attention over the spatial features of a CNN.'


class Encoder(nn.Module):
    def __init__(self, hidden_size, embed_size, features=16):
        super().__init__()
        self.resnet = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),
                                    nn.Conv2d(8, features, 3, 2, 1), nn.BatchNorm2d(features), nn.ReLU())
        self.spatial_features = nn.Linear(features, hidden_size)
        self.global_features = nn.Linear(features, embed_size)

    def forward(self, images):
        encoded_image = self.resnet(images)
        batch_size, features = encoded_image.shape[:2]
        num_pixels = encoded_image.shape[2] * encoded_image.shape[3]
        global_f = encoded_image.view(batch_size, features, num_pixels).mean(dim=2)
        enc_image = encoded_image.view(batch_size, num_pixels, features)
        spatial_image = F.relu(self.spatial_features(enc_image))
        global_image = F.relu(self.global_features(global_f))
        return spatial_image, global_image


class AdaptiveAttention(nn.Module):
    def __init__(self, hidden_size, att_dim):
        super().__init__()
        self.cnn_att = nn.Linear(hidden_size, att_dim, bias=False)
        self.dec_att = nn.Linear(hidden_size, att_dim, bias=False)
        self.sen_out = nn.Linear(hidden_size, att_dim, bias=False)
        self.att_out = nn.Linear(att_dim, 1, bias=False)

    def forward(self, spatial_image, decoder_out, st):
        dec = self.dec_att(decoder_out)
        zt = self.att_out(torch.tanh(self.cnn_att(spatial_image) + dec.unsqueeze(1))).squeeze(2)
        alpha_t = F.softmax(zt, dim=1)
        ct = (spatial_image * alpha_t.unsqueeze(2)).sum(dim=1)
        out = self.att_out(torch.tanh(dec + self.sen_out(st)))
        beta_t = F.softmax(torch.cat((zt, out), dim=1), dim=1)[:, -1].unsqueeze(1)
        return beta_t * st + (1 - beta_t) * ct


class Captioner(nn.Module):
    def __init__(self, vocab=40, hidden_size=20, embed_size=12):
        super().__init__()
        self.encoder = Encoder(hidden_size, embed_size)
        self.embedding = nn.Embedding(vocab, embed_size)
        self.LSTM = nn.LSTMCell(embed_size * 2, hidden_size)
        self.hidd_gate = nn.Linear(hidden_size, hidden_size, bias=False)
        self.inp_gate = nn.Linear(embed_size * 2, hidden_size, bias=False)
        self.adaptive_attention = AdaptiveAttention(hidden_size, 16)
        self.fc = nn.Linear(hidden_size, vocab)

    def forward(self, images, captions):
        spatial_image, global_image = self.encoder(images)
        embeddings = self.embedding(captions)
        inputs = torch.cat((embeddings, global_image.unsqueeze(1).expand_as(embeddings)), dim=2)
        h = c = spatial_image.mean(dim=1)
        scores = []
        for t in range(captions.size(1) - 1):
            h_prev = h
            h, c = self.LSTM(inputs[:, t], (h, c))
            st = torch.sigmoid(self.hidd_gate(h_prev) + self.inp_gate(inputs[:, t])) * torch.tanh(c)
            scores.append(self.fc(self.adaptive_attention(spatial_image, h, st) + h))
        return torch.stack(scores, dim=1)


def build():
    return Captioner()


def step(model):
    images, captions = torch.rand(5, 3, 16, 16), torch.randint(1, 40, (5, 9))
    captions[3, 6:] = 0
    scores = model(images, captions)
    targets = captions[:, 1:]
    keep = targets != 0
    loss = F.cross_entropy(scores[keep], targets[keep])
    loss.backward()
    return loss.detach()


# (B, channels, h, w) viewed as (B, pixels, channels): each "pixel" is one channel; here both are 16;
# fix: permute(0, 2, 3, 1) first
TRUTH = dict(raises=None, at='function:view', culprits=['function:view'], dim=None, got=None, wanted=None,
             hint_any=['permute', 'transpose', 'channel'])
MENDED = [('enc_image = encoded_image.view(batch_size, num_pixels, features)',
           'enc_image = encoded_image.permute(0, 2, 3, 1).reshape(batch_size, num_pixels, features)')]
