import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/richarddwang/electra_pytorch/issues/12'
CATEGORY = 'correct'
DESCRIPTION = 'ELECTRA: a small generator fills masked tokens, its samples go to a discriminator that finds the replaced ones; one loss for both.'


class Encoder(nn.Module):
    def __init__(self, embedding, width, heads):
        super().__init__()
        self.embedding = embedding
        self.position = nn.Embedding(24, embedding.embedding_dim)
        self.project = nn.Linear(embedding.embedding_dim, width)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, ids, attention_mask):
        x = self.project(self.embedding(ids) + self.position(torch.arange(ids.size(1))))
        return self.layers(x, src_key_padding_mask=~attention_mask)


class ELECTRAModel(nn.Module):
    def __init__(self, vocab=60, dim=24):
        super().__init__()
        embedding = nn.Embedding(vocab, dim, padding_idx=0)
        self.generator = Encoder(embedding, 16, 2)
        self.generator_lm_head = nn.Linear(16, vocab)
        self.discriminator = Encoder(embedding, 32, 4)
        self.discriminator_head = nn.Linear(32, 1)
        self.gumbel_dist = torch.distributions.gumbel.Gumbel(0., 1.)

    def forward(self, masked_inputs, attention_mask, is_mlm_applied, labels):
        gen_logits = self.generator_lm_head(self.generator(masked_inputs, attention_mask))
        mlm_gen_logits = gen_logits[is_mlm_applied, :]
        with torch.no_grad():
            pred_toks = self.sample(mlm_gen_logits)
            generated = masked_inputs.clone()
            generated[is_mlm_applied] = pred_toks
            is_replaced = is_mlm_applied.clone()
            is_replaced[is_mlm_applied] = (pred_toks != labels[is_mlm_applied])
        disc_logits = self.discriminator_head(self.discriminator(generated, attention_mask)).squeeze(-1)
        return mlm_gen_logits, disc_logits, is_replaced

    def sample(self, logits):
        return (logits.float() + self.gumbel_dist.sample(logits.shape)).argmax(dim=-1)


class ELECTRALoss:
    def __init__(self, loss_weights=(1.0, 50.0)):
        self.loss_weights = loss_weights

    def __call__(self, pred, labels, attention_mask, is_mlm_applied):
        mlm_gen_logits, disc_logits, is_replaced = pred
        gen_loss = F.cross_entropy(mlm_gen_logits.float(), labels[is_mlm_applied])
        disc_logits = disc_logits.masked_select(attention_mask)
        is_replaced = is_replaced.masked_select(attention_mask)
        disc_loss = F.binary_cross_entropy_with_logits(disc_logits.float(), is_replaced.float())
        return gen_loss * self.loss_weights[0] + disc_loss * self.loss_weights[1]


def mask_tokens(ids, attention_mask, mask_token=1, prob=0.3):
    is_mlm_applied = (torch.rand(ids.shape) < prob) & attention_mask
    is_mlm_applied[:, 1] = True
    return ids.masked_fill(is_mlm_applied, mask_token), is_mlm_applied


def build():
    return ELECTRAModel()


def step(model):
    ids = torch.randint(2, 60, (6, 16))
    attention_mask = torch.arange(16) < torch.randint(8, 17, (6, 1))
    ids = ids.masked_fill(~attention_mask, 0)
    masked_inputs, is_mlm_applied = mask_tokens(ids, attention_mask)
    pred = model(masked_inputs, attention_mask, is_mlm_applied, ids)
    return ELECTRALoss()(pred, ids, attention_mask, is_mlm_applied)


# No gradient goes through the sampling, as in the paper; the generator learns from its own masked-token loss.
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
