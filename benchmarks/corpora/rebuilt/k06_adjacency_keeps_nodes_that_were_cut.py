import torch
import torch.nn as nn
import torch.nn.functional as F
from types import SimpleNamespace

SOURCE = 'https://github.com/ucbrise/graphtrans/issues/9'
CATEGORY = 'layer'
DESCRIPTION = 'GraphTrans: node sequences are cut to max_input_len, the adjacency matrices of the masked encoder keep all nodes: 78 places for 91.'


def pad_batch(h_node, num_nodes, max_input_len):
    """Rows of all graphs -> (S, B, D), padded at the end, and (B, S) with True where padded."""
    S = min(max(num_nodes), max_input_len)
    padded = h_node.new_zeros(S, len(num_nodes), h_node.size(1))
    mask = torch.ones(len(num_nodes), S, dtype=torch.bool)
    for i, h in enumerate(h_node.split(num_nodes)):
        n = min(h.size(0), S)
        padded[:n, i] = h[:n]
        mask[i, :n] = False
    return padded, mask


class GCNConv(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        self.root_emb = nn.Embedding(1, dim)

    def forward(self, x, edge_index):
        x = self.linear(x)
        row, col = edge_index
        deg = torch.zeros(x.size(0)).index_add(0, row, torch.ones(row.size(0))) + 1
        norm = deg[row].rsqrt() * deg[col].rsqrt()
        out = torch.zeros_like(x).index_add(0, col, norm.view(-1, 1) * F.relu(x[row]))
        return out + F.relu(x + self.root_emb.weight) / deg.view(-1, 1)


class GNNNode(nn.Module):
    def __init__(self, num_layer, dim):
        super().__init__()
        self.node_encoder = nn.Linear(37, dim)
        self.convs = nn.ModuleList(GCNConv(dim) for _ in range(num_layer))
        self.batch_norms = nn.ModuleList(nn.BatchNorm1d(dim) for _ in range(num_layer))

    def forward(self, x, edge_index):
        h = self.node_encoder(x)
        for conv, bn in zip(self.convs, self.batch_norms):
            h = F.dropout(F.relu(bn(conv(h, edge_index))), 0.1, training=self.training)
        return h


class MaskedOnlyTransformerEncoder(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.nhead = args.nhead
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(args.d_model, args.nhead, 2 * args.d_model, 0.1) for _ in range(args.num_encoder_layers_masked))

    def forward(self, x, attn_mask, src_key_padding_mask):
        blocked = ~attn_mask & ~torch.eye(attn_mask.size(-1), dtype=torch.bool)
        blocked = blocked.repeat_interleave(self.nhead, dim=0)
        for layer in self.layers:
            x = layer(x, src_mask=blocked, src_key_padding_mask=None)
        return x


class GNNTransformer(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.max_input_len = args.max_input_len
        self.gnn_node = GNNNode(args.num_layer, args.gnn_emb_dim)
        self.gnn2transformer = nn.Linear(args.gnn_emb_dim, args.d_model)
        self.transformer_encoder = MaskedOnlyTransformerEncoder(args)
        self.graph_pred_linear = nn.Linear(args.d_model, 2)

    def forward(self, batch):
        h_node = self.gnn2transformer(self.gnn_node(batch.x, batch.edge_index))
        padded_h_node, src_padding_mask = pad_batch(h_node, batch.num_nodes, self.max_input_len)
        S, B, _ = padded_h_node.shape
        padded_adj_list = torch.zeros((B, S, S), dtype=torch.bool)
        for idx, adj_list_item in enumerate(batch.adj_list):
            N = adj_list_item.shape[0]
            padded_adj_list[idx, 0:N, 0:N] = adj_list_item
        out = self.transformer_encoder(padded_h_node, padded_adj_list, src_padding_mask)
        keep = (~src_padding_mask).t().unsqueeze(-1).float()
        return self.graph_pred_linear((out * keep).sum(0) / keep.sum(0))


ARGS = SimpleNamespace(num_layer=3, gnn_emb_dim=32, d_model=32, nhead=4, num_encoder_layers_masked=2, max_input_len=78)


def build():
    return GNNTransformer(ARGS)


def step(model):
    num_nodes = [29, 91, 40, 17]
    edges, adj_list, start = [], [], 0
    for n in num_nodes:
        e = torch.randint(0, n, (2, 3 * n))
        adj = torch.zeros(n, n, dtype=torch.bool)
        adj[e[0], e[1]] = True
        adj_list.append(adj)
        edges.append(e + start)
        start += n
    batch = SimpleNamespace(x=torch.randn(start, 37), edge_index=torch.cat(edges, 1), num_nodes=num_nodes, adj_list=adj_list, y=torch.tensor([0, 1, 1, 0]))
    return F.cross_entropy(model(batch), batch.y)


# real fix: cut the adjacency like the nodes: N = min(N, S), adj_list_item[:N, :N]
# offending tensor: adj_list[1] (91, 91), sequence of 78
TRUTH = dict(raises='RuntimeError', at='function:setitem', culprits=['input', 'function:setitem', 'function:zeros', ''], dim=None, got=91, wanted=78,
             hint_any=['91', 'cut', 'min', 'truncat', 'max_input_len', 'shorter', 'crop'])
MENDED = [('N = adj_list_item.shape[0]', 'N = min(adj_list_item.shape[0], S)'), ('0:N, 0:N] = adj_list_item', '0:N, 0:N] = adj_list_item[:N, :N]')]
