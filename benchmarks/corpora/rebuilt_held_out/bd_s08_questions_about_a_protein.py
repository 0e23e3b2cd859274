from dataclasses import dataclass
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/pull/48356 (EsmSelfAttention with encoder states of another length; sizes are ours)'
CATEGORY = 'layer'
DESCRIPTION = ('Text decoder that attends to a protein encoder: keys and values of the cross-attention are viewed with the batch and length of the queries, '
               'so the number of heads comes out wrong as the protein is longer.')


@dataclass
class EsmConfig:
    vocab_size: int = 40
    hidden_size: int = 48
    num_attention_heads: int = 4
    intermediate_size: int = 96
    num_hidden_layers: int = 2
    max_position_embeddings: int = 64
    is_decoder: bool = False
    add_cross_attention: bool = False
    layer_norm_eps: float = 1e-5


def eager_attention_forward(module, query, key, value, attention_mask, scaling):
    attn_weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        attn_weights = attn_weights + attention_mask
    attn_weights = F.softmax(attn_weights, dim=-1)
    attn_output = torch.matmul(attn_weights, value)
    return attn_output.transpose(1, 2).contiguous()


class EsmSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.scaling = self.attention_head_size ** -0.5

    def forward(self, hidden_states, attention_mask=None, encoder_hidden_states=None, encoder_attention_mask=None):
        batch_size, seq_length = hidden_states.shape[:-1]
        hidden_shape = (batch_size, seq_length, -1, self.attention_head_size)
        query_layer = self.query(hidden_states).view(hidden_shape).transpose(1, 2)
        is_cross_attention = encoder_hidden_states is not None
        current_states = encoder_hidden_states if is_cross_attention else hidden_states
        attention_mask = encoder_attention_mask if is_cross_attention else attention_mask
        key_layer = self.key(current_states).view(hidden_shape).transpose(1, 2)
        value_layer = self.value(current_states).view(hidden_shape).transpose(1, 2)
        attn_output = eager_attention_forward(self, query_layer, key_layer, value_layer, attention_mask, self.scaling)
        return attn_output.reshape(batch_size, seq_length, -1)


class EsmAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self = EsmSelfAttention(config)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states, **kwargs):
        return hidden_states + self.output(self.self(self.LayerNorm(hidden_states), **kwargs))


class EsmLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = EsmAttention(config)
        if config.add_cross_attention:
            self.crossattention = EsmAttention(config)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states, attention_mask, encoder_hidden_states=None, encoder_attention_mask=None):
        x = self.attention(hidden_states, attention_mask=attention_mask)
        if encoder_hidden_states is not None:
            x = self.crossattention(x, encoder_hidden_states=encoder_hidden_states, encoder_attention_mask=encoder_attention_mask)
        return x + self.output(F.gelu(self.intermediate(x)))


class EsmModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=1)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layer = nn.ModuleList([EsmLayer(config) for _ in range(config.num_hidden_layers)])
        self.emb_layer_norm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def invert(self, mask):
        return (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min

    def forward(self, input_ids, attention_mask, encoder_hidden_states=None, encoder_attention_mask=None):
        n = input_ids.shape[1]
        x = self.word_embeddings(input_ids) + self.position_embeddings(torch.arange(n))
        mask = self.invert(attention_mask)
        if self.config.is_decoder:
            causal = torch.full((n, n), torch.finfo(torch.float32).min).triu(1)
            mask = torch.maximum(mask + causal, torch.tensor(torch.finfo(torch.float32).min))
        if encoder_attention_mask is not None:
            encoder_attention_mask = self.invert(encoder_attention_mask)
        for layer in self.layer:
            x = layer(x, mask, encoder_hidden_states, encoder_attention_mask)
        return self.emb_layer_norm_after(x)


class ProteinChat(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = EsmModel(EsmConfig(vocab_size=33))
        self.decoder = EsmModel(EsmConfig(is_decoder=True, add_cross_attention=True))
        self.lm_head = nn.Linear(48, 40)

    def forward(self, protein_ids, protein_mask, input_ids, attention_mask):
        protein = self.encoder(protein_ids, protein_mask)
        hidden = self.decoder(input_ids, attention_mask, encoder_hidden_states=protein, encoder_attention_mask=protein_mask)
        return self.lm_head(hidden)


def build():
    torch.manual_seed(0)
    return ProteinChat()


def step(model):
    torch.manual_seed(1)
    protein_ids = torch.randint(4, 33, (4, 24))
    protein_mask = torch.ones(4, 24).long()
    protein_mask[1, 20:] = 0
    input_ids = torch.randint(4, 40, (4, 12))
    attention_mask = torch.ones_like(input_ids)
    logits = model(protein_ids, protein_mask, input_ids, attention_mask)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), input_ids[:, 1:].flatten())


# real fix: kv_shape = (*current_states.shape[:-1], -1, self.attention_head_size)
# offending tensor: key_layer (4, 8, 12, 12) beside query_layer (4, 4, 12, 12); view halves the length and doubles the heads
TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['function:view'], dim=1, got=8, wanted=4,
             hint_any=['view', 'head', 'length', 'encoder', 'key'])
MENDED = [('self.key(current_states).view(hidden_shape)', 'self.key(current_states).view(*current_states.shape[:-1], -1, self.attention_head_size)'),
          ('self.value(current_states).view(hidden_shape)', 'self.value(current_states).view(*current_states.shape[:-1], -1, self.attention_head_size)')]
