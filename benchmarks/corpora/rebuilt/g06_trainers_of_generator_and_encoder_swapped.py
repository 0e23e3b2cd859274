from itertools import chain

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/wiseodd/controlled-text-generation/issues/15'
CATEGORY = 'silent'
DESCRIPTION = 'Controlled text generation: trainer_G is given the parameters of the encoder and trainer_E those of the decoder, so each of the two losses moves the other half.'


class RNN_VAE(nn.Module):
    def __init__(self, n_vocab=50, h_dim=16, z_dim=16, c_dim=2, emb_dim=16):
        super().__init__()
        self.z_dim, self.c_dim, self.start = z_dim, c_dim, 2
        self.word_emb = nn.Embedding(n_vocab, emb_dim, 1)
        self.word_emb.weight.requires_grad = False
        self.encoder = nn.GRU(emb_dim, h_dim)
        self.q_mu = nn.Linear(h_dim, z_dim)
        self.q_logvar = nn.Linear(h_dim, z_dim)
        self.decoder = nn.GRU(emb_dim + z_dim + c_dim, z_dim + c_dim)
        self.decoder_fc = nn.Linear(z_dim + c_dim, n_vocab)
        self.conv3 = nn.Conv2d(1, 10, (3, emb_dim))
        self.disc_fc = nn.Linear(10, 2)
        self.encoder_params = list(chain(self.encoder.parameters(), self.q_mu.parameters(), self.q_logvar.parameters()))
        self.decoder_params = list(chain(self.decoder.parameters(), self.decoder_fc.parameters()))
        self.discriminator_params = list(chain(self.conv3.parameters(), self.disc_fc.parameters()))

    def forward_encoder_embed(self, inputs):
        _, h = self.encoder(inputs)
        h = h.squeeze(0)
        return self.q_mu(h), self.q_logvar(h)

    def forward_decoder(self, inputs, z, c):
        seq_len = inputs.size(0)
        init_h = torch.cat([z.unsqueeze(0), c.unsqueeze(0)], dim=2)
        emb = torch.cat([self.word_emb(inputs), init_h.repeat(seq_len, 1, 1)], 2)
        outputs, _ = self.decoder(emb, init_h)
        return self.decoder_fc(outputs)

    def forward_discriminator(self, inputs):
        x = F.relu(self.conv3(inputs.unsqueeze(1))).squeeze(3)
        return self.disc_fc(F.max_pool1d(x, x.size(2)).squeeze(2))

    def forward(self, sentence):
        mu, logvar = self.forward_encoder_embed(self.word_emb(sentence))
        z = mu + torch.exp(logvar / 2) * torch.randn_like(mu)
        c = F.softmax(self.forward_discriminator(self.word_emb(sentence).transpose(0, 1)), dim=1)
        y = self.forward_decoder(sentence[:-1], z, c)
        recon_loss = F.cross_entropy(y.reshape(-1, y.size(2)), sentence[1:].reshape(-1))
        kl_loss = torch.mean(0.5 * torch.sum(torch.exp(logvar) + mu ** 2 - 1 - logvar, 1))
        return recon_loss, kl_loss

    def generate_soft_embed(self, mbsize, temp, length=7):
        z = torch.randn(mbsize, self.z_dim)
        c = F.one_hot(torch.randint(0, self.c_dim, (mbsize,)), self.c_dim).float()
        emb = self.word_emb(torch.full((mbsize,), self.start)).unsqueeze(0)
        h, outputs = torch.cat([z, c], dim=1).unsqueeze(0), []
        for _ in range(length):
            output, h = self.decoder(torch.cat([emb, z.unsqueeze(0), c.unsqueeze(0)], 2), h)
            y = F.softmax(self.decoder_fc(output) / temp, dim=2)
            emb = y @ self.word_emb.weight
            outputs.append(emb)
        return torch.cat(outputs, 0).transpose(0, 1), z, c.argmax(1)


def build():
    return RNN_VAE()


def step(model, kl_weight=0.1, lambda_c=0.1, lambda_z=0.1):
    trainer_D = torch.optim.Adam(model.discriminator_params, lr=1e-3)
    trainer_G = torch.optim.Adam(model.encoder_params, lr=1e-3)
    trainer_E = torch.optim.Adam(model.decoder_params, lr=1e-3)
    for _ in range(2):
        sentence, labels = torch.randint(3, 50, (8, 16)), torch.randint(0, 2, (16,))

        y_disc = model.forward_discriminator(model.word_emb(sentence).transpose(0, 1))
        F.cross_entropy(y_disc, labels).backward()
        trainer_D.step()
        trainer_D.zero_grad()

        recon_loss, kl_loss = model(sentence)
        x_gen, target_z, target_c = model.generate_soft_embed(16, temp=0.8)
        y_z, _ = model.forward_encoder_embed(x_gen.transpose(0, 1))
        y_c = model.forward_discriminator(x_gen)
        loss_G = recon_loss + kl_weight * kl_loss + lambda_c * F.cross_entropy(y_c, target_c) + lambda_z * F.mse_loss(y_z, target_z)
        loss_G.backward()
        torch.nn.utils.clip_grad_norm_(model.decoder_params, 5)
        trainer_G.step()
        model.zero_grad()

        recon_loss, kl_loss = model(sentence)
        loss_E = recon_loss + kl_weight * kl_loss
        loss_E.backward()
        torch.nn.utils.clip_grad_norm_(model.encoder_params, 5)
        trainer_E.step()
        model.zero_grad()
    return loss_E.detach()


# real fix: trainer_G = Adam(model.decoder_params), trainer_E = Adam(model.encoder_params)
TRUTH = dict(raises=None, at='module:decoder', culprits=['encoder', 'decoder', 'q_mu', 'q_logvar', 'decoder_fc', 'function:step', 'function:backward'],
             dim=None, got=None, wanted=None, hint_any=['clip', 'optimizer', 'swapped', 'other parameters', 'trainer'])
MENDED = [('trainer_G = torch.optim.Adam(model.encoder_params', 'trainer_G = torch.optim.Adam(model.decoder_params'),
          ('trainer_E = torch.optim.Adam(model.decoder_params', 'trainer_E = torch.optim.Adam(model.encoder_params')]
