import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/issues/16940'
CATEGORY = 'correct'
DESCRIPTION = 'Seq2seq: the loop passes unshifted labels with -100 on padding; the model shifts them right for its decoder and masks the future.'


class BartConfig:
    vocab_size, d_model, heads, ffn, layers = 64, 32, 4, 64, 2
    pad_token_id, eos_token_id, decoder_start_token_id = 1, 2, 2
    max_position_embeddings = 40


def shift_tokens_right(input_ids, pad_token_id, decoder_start_token_id):
    shifted_input_ids = input_ids.new_zeros(input_ids.shape)
    shifted_input_ids[:, 1:] = input_ids[:, :-1].clone()
    shifted_input_ids[:, 0] = decoder_start_token_id
    shifted_input_ids.masked_fill_(shifted_input_ids == -100, pad_token_id)
    return shifted_input_ids


class LearnedPositionalEmbedding(nn.Embedding):
    def __init__(self, num_embeddings, embedding_dim):
        self.offset = 2
        super().__init__(num_embeddings + self.offset, embedding_dim)

    def forward(self, input_ids):
        positions = torch.arange(input_ids.shape[1]).expand(input_ids.shape[0], -1)
        return super().forward(positions + self.offset)


class BartStack(nn.Module):
    def __init__(self, config, shared, layer_class):
        super().__init__()
        self.embed_tokens = shared
        self.embed_positions = LearnedPositionalEmbedding(config.max_position_embeddings, config.d_model)
        self.layernorm_embedding = nn.LayerNorm(config.d_model)
        self.layers = nn.ModuleList(
            layer_class(config.d_model, config.heads, config.ffn, dropout=0.1, activation='gelu', batch_first=True)
            for _ in range(config.layers))

    def embed(self, input_ids):
        return self.layernorm_embedding(self.embed_tokens(input_ids) + self.embed_positions(input_ids))


class BartForConditionalGeneration(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.d_model, padding_idx=config.pad_token_id)
        self.encoder = BartStack(config, self.shared, nn.TransformerEncoderLayer)
        self.decoder = BartStack(config, self.shared, nn.TransformerDecoderLayer)
        self.register_buffer('final_logits_bias', torch.zeros((1, config.vocab_size)))

    def forward(self, input_ids, attention_mask, labels):
        c = self.config
        decoder_input_ids = shift_tokens_right(labels, c.pad_token_id, c.decoder_start_token_id)
        padding = attention_mask == 0
        hidden = self.encoder.embed(input_ids)
        for layer in self.encoder.layers:
            hidden = layer(hidden, src_key_padding_mask=padding)
        length = decoder_input_ids.shape[1]
        causal = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
        out = self.decoder.embed(decoder_input_ids)
        for layer in self.decoder.layers:
            out = layer(out, hidden, tgt_mask=causal, memory_key_padding_mask=padding)
        lm_logits = F.linear(out, self.shared.weight) + self.final_logits_bias
        loss = F.cross_entropy(lm_logits.view(-1, c.vocab_size), labels.view(-1))
        return loss, lm_logits


class DataCollatorForSeq2Seq:
    def __init__(self, config, label_pad_token_id=-100):
        self.config, self.label_pad_token_id = config, label_pad_token_id

    def __call__(self, features):
        source = nn.utils.rnn.pad_sequence([s for s, _ in features], batch_first=True, padding_value=self.config.pad_token_id)
        labels = nn.utils.rnn.pad_sequence([t for _, t in features], batch_first=True, padding_value=self.label_pad_token_id)
        return dict(input_ids=source, attention_mask=(source != self.config.pad_token_id).long(), labels=labels)


def sentence(config, low, high):
    words = torch.randint(3, config.vocab_size, (torch.randint(low, high, (1,)).item(),))
    return torch.cat([words, torch.tensor([config.eos_token_id])])


def build():
    return BartForConditionalGeneration(BartConfig)


def step(model):
    features = [(sentence(BartConfig, 6, 14), sentence(BartConfig, 5, 12)) for _ in range(6)]
    batch = DataCollatorForSeq2Seq(BartConfig)(features)
    loss, logits = model(**batch)
    return loss


TRUTH = dict(raises=None, at=None, culprits=[])
