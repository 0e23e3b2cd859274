import torch
import torch.nn as nn

SOURCE = 'https://github.com/ImKeTT/PCAE/issues/5'
CATEGORY = 'silent'
DESCRIPTION = 'Text VAE around a pretrained sequence-to-sequence model: the optimizer is given model.parameters() of the wrapped model, the VAE\'s own z_linear for mean and variance is never updated.'


class Config:
    d_model = 32
    vocab_size = 60
    heads = 4
    pad_token_id = 1
    latent_size = 8


class BartLike(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(config.d_model, config.heads, 64, batch_first=True), 1)
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(config.d_model, config.heads, 64, batch_first=True), 1)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)


class VAE(nn.Module):
    def __init__(self, model, nz):
        super().__init__()
        self.config = model.config
        self.shared, self.encoder, self.decoder = model.shared, model.encoder, model.decoder
        self.lm_head = model.lm_head
        self.nz = nz
        self.z_linear = nn.Linear(self.config.d_model, 2 * nz, bias=False)

    def reparameterize(self, mean, logvar):
        return mean + torch.randn_like(mean) * (0.5 * logvar).exp()

    def forward(self, input_ids, decoder_input_ids):
        encoder_outputs = self.encoder(self.shared(input_ids))
        mean, logvar = self.z_linear(encoder_outputs.mean(1)).chunk(2, dim=-1)
        z = self.reparameterize(mean, logvar)
        memory = z.repeat(1, self.config.d_model // self.nz).unsqueeze(1)
        steps = decoder_input_ids.size(1)
        causal = nn.Transformer.generate_square_subsequent_mask(steps)
        hidden = self.decoder(self.shared(decoder_input_ids), memory, tgt_mask=causal)
        kl = 0.5 * (mean.pow(2) + logvar.exp() - logvar - 1).sum(dim=1)
        return self.lm_head(hidden), kl


class PCAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = BartLike(Config)
        self.vae = VAE(self.model, Config.latent_size)


def vae_finetuning(pcae, batches, beta=0.1):
    model, vae = pcae.model, pcae.vae
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=Config.pad_token_id)
    vae.train()
    for input_ids in batches:
        optimizer.zero_grad()
        logits, kl = vae(input_ids, input_ids[:, :-1])
        loss_rec = criterion(logits.reshape(-1, logits.size(-1)), input_ids[:, 1:].reshape(-1))
        loss = loss_rec + beta * kl.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
    return loss.detach()


def build():
    return PCAE()


def step(model):
    return vae_finetuning(model, [torch.randint(2, 60, (8, 12)) for _ in range(4)])


# real fix: the optimizer gets the parameters of the VAE
TRUTH = dict(raises=None, at='module:vae.z_linear', culprits=['vae.z_linear'], dim=None, got=None, wanted=None,
             hint_any=['optimizer', 'z_linear', 'never updated'])
MENDED = [('AdamW(model.parameters()', 'AdamW(vae.parameters()')]
