import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://discuss.huggingface.co/t/is-there-a-way-to-return-the-decoder-input-ids-from-tokenizer-prepare-seq2seq-batch/2929/6'
CATEGORY = 'silent'
DESCRIPTION = 'Summaries with an encoder and a decoder in the manner of transformers: the collator pads, the model shifts the labels to the right.'


class Config:
    vocab_size, d_model, heads, layers = 50, 32, 4, 1
    pad_token_id, bos_token_id, eos_token_id, decoder_start_token_id = 1, 0, 2, 2


def shift_tokens_right(labels, pad_token_id, decoder_start_token_id):
    shifted = labels.new_zeros(labels.shape)
    shifted[:, 1:] = labels[:, :-1].clone()
    shifted[:, 0] = decoder_start_token_id
    return shifted.masked_fill(shifted == -100, pad_token_id)


class SummaryModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.d_model, padding_idx=config.pad_token_id)
        self.positions = nn.Embedding(32, config.d_model)
        enc = nn.TransformerEncoderLayer(config.d_model, config.heads, 64, batch_first=True)
        dec = nn.TransformerDecoderLayer(config.d_model, config.heads, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(enc, config.layers, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(dec, config.layers)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)

    def embed(self, ids):
        return self.shared(ids) + self.positions(torch.arange(ids.size(1), device=ids.device))

    def forward(self, input_ids, attention_mask, labels):
        decoder_input_ids = shift_tokens_right(labels, self.config.pad_token_id, self.config.decoder_start_token_id)
        padding = attention_mask == 0
        memory = self.encoder(self.embed(input_ids), src_key_padding_mask=padding)
        length = decoder_input_ids.size(1)
        causal = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
        hidden = self.decoder(self.embed(decoder_input_ids), memory, tgt_mask=causal, memory_key_padding_mask=padding)
        logits = self.lm_head(hidden)
        loss = F.cross_entropy(logits.view(-1, self.config.vocab_size), labels.view(-1))
        return loss, logits


class Collator:
    def __init__(self, config):
        self.pad = config.pad_token_id

    def pad_batch(self, sequences):
        longest = max(len(s) for s in sequences)
        return torch.tensor([s + [self.pad] * (longest - len(s)) for s in sequences])

    def __call__(self, examples):
        input_ids = self.pad_batch([e['note'] for e in examples])
        labels = self.pad_batch([e['summary'] for e in examples])
        return {'input_ids': input_ids, 'attention_mask': (input_ids != self.pad).long(), 'labels': labels}


def examples(n):
    out = []
    for _ in range(n):
        words = torch.randint(3, 50, (int(torch.randint(6, 15, ())),)).tolist()
        keep = int(torch.randint(2, 6, ()))
        out.append({'note': [0] + words + [2], 'summary': [0] + words[:keep] + [2]})
    return out


def build():
    return SummaryModel(Config())


def step(model):
    batch = Collator(model.config)(examples(6))
    loss, _ = model(**batch)
    return loss


# The labels are padded with pad_token_id 1, a class as any other: the padding takes part in the loss.
# answer of the thread: replace the pad tokens of the labels by -100
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['target'], dim=None, got=None, wanted=None,
             hint_any=['pad', '-100', 'ignore_index'])
MENDED = [("e['summary'] for e in examples])\n", "e['summary'] for e in examples])\n        labels[labels == self.pad] = -100\n")]
