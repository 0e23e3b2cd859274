import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/coqui-ai/TTS/pull/1664'
CATEGORY = 'layer'
DESCRIPTION = 'Capacitron with several speakers: the reference encoding is (B, 256), the speaker embedding of Tacotron keeps a time axis (B, 1, 512) for the concatenation with the text encoding.'


class ReferenceEncoder(nn.Module):
    def __init__(self, num_mel, out_dim):
        super().__init__()
        filters = [1, 4, 4]
        self.convs = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(filters, filters[1:])])
        self.bns = nn.ModuleList([nn.BatchNorm2d(b) for b in filters[1:]])
        self.recurrence = nn.LSTM(filters[-1] * (num_mel // 4), out_dim, batch_first=True)

    def forward(self, inputs, input_lengths):
        x = inputs.unsqueeze(1)
        for conv, bn in zip(self.convs, self.bns):
            x = F.relu(bn(conv(x)))
        x = x.transpose(1, 2).flatten(2)
        _, (h, _) = self.recurrence(x)
        return h.squeeze(0)


class TextSummary(nn.Module):
    def __init__(self, dim, out):
        super().__init__()
        self.lstm = nn.LSTM(dim, out, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[1][0].squeeze(0)


class CapacitronVAE(nn.Module):
    def __init__(self, num_mel, capacitron_VAE_embedding_dim, encoder_output_dim=32, reference_encoder_out_dim=24,
                 speaker_embedding_dim=None, text_summary_embedding_dim=None):
        super().__init__()
        self.encoder = ReferenceEncoder(num_mel, out_dim=reference_encoder_out_dim)
        self.beta = nn.Parameter(torch.zeros(1))
        mlp_input_dimension = reference_encoder_out_dim
        if text_summary_embedding_dim is not None:
            self.text_summary_net = TextSummary(encoder_output_dim, text_summary_embedding_dim)
            mlp_input_dimension += text_summary_embedding_dim
        if speaker_embedding_dim is not None:
            mlp_input_dimension += speaker_embedding_dim
        self.post_encoder_mlp = nn.Sequential(nn.Linear(mlp_input_dimension, 2 * capacitron_VAE_embedding_dim))

    def forward(self, reference_mel_info=None, text_info=None, speaker_embedding=None):
        reference_mels, mel_lengths = reference_mel_info
        enc_out = self.encoder(reference_mels, mel_lengths)
        if text_info is not None:
            enc_out = torch.cat([enc_out, self.text_summary_net(text_info)], dim=-1)
        if speaker_embedding is not None:
            enc_out = torch.cat([enc_out, speaker_embedding], dim=-1)
        mu, logvar = self.post_encoder_mlp(enc_out).chunk(2, dim=-1)
        std = F.softplus(logvar)
        posterior = torch.distributions.Normal(mu, std, validate_args=False)
        return mu.unsqueeze(1), posterior


class Tacotron(nn.Module):
    def __init__(self, num_chars=40, num_speakers=4, num_mel=16, dim=32, spk_dim=20, vae_dim=12):
        super().__init__()
        self.speaker_embedding = nn.Embedding(num_speakers, spk_dim)
        self.embedding = nn.Embedding(num_chars, dim)
        self.encoder = nn.GRU(dim, dim, batch_first=True)
        self.capacitron_vae_layer = CapacitronVAE(num_mel, vae_dim, dim, speaker_embedding_dim=spk_dim,
                                                  text_summary_embedding_dim=16)
        self.decoder = nn.Linear(dim + spk_dim + vae_dim, num_mel)

    @staticmethod
    def _concat_speaker_embedding(outputs, embedded):
        embedded = embedded.expand(outputs.size(0), outputs.size(1), -1)
        return torch.cat([outputs, embedded], dim=-1)

    def forward(self, text, mel_specs, mel_lengths, speaker_ids):
        embedded_speakers = self.speaker_embedding(speaker_ids)[:, None]
        encoder_outputs = self.encoder(self.embedding(text))[0]
        text_info = encoder_outputs
        VAE_embedding, posterior = self.capacitron_vae_layer(
            reference_mel_info=[mel_specs, mel_lengths],
            text_info=text_info,
            speaker_embedding=embedded_speakers,
        )
        encoder_outputs = self._concat_speaker_embedding(encoder_outputs, embedded_speakers)
        encoder_outputs = self._concat_speaker_embedding(encoder_outputs, VAE_embedding)
        return self.decoder(encoder_outputs).mean(1), posterior


def build():
    torch.manual_seed(0)
    return Tacotron()


def step(model):
    g = torch.Generator().manual_seed(2)
    text = torch.randint(0, 40, (4, 15), generator=g)
    mels = torch.randn(4, 32, 16, generator=g)
    speaker_ids = torch.tensor([0, 1, 2, 3])
    out, posterior = model(text, mels, torch.full((4,), 32), speaker_ids)
    kl = (posterior.mean ** 2).mean()
    return F.l1_loss(out, mels.mean(1)) + 0.1 * kl


TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:getitem', 'function:cat', 'capacitron_vae_layer'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', 'dimension', '3', 'unsqueeze'])
MENDED = [('enc_out = torch.cat([enc_out, speaker_embedding], dim=-1)',
           'enc_out = torch.cat([enc_out, speaker_embedding.squeeze(1)], dim=-1)')]
