import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/dmlc/dgl/issues/2921'
CATEGORY = 'layer'
DESCRIPTION = 'Node classification with a three-layer GAT and residual connections; with seven classes the same network trains.'


class Identity(nn.Module):
    def forward(self, x):
        return x


def edge_softmax(e, dst, num_nodes):
    e = (e - e.max()).exp()
    total = e.new_zeros(num_nodes, *e.shape[1:]).index_add(0, dst, e)
    return e / total[dst]


class GATConv(nn.Module):
    def __init__(self, in_feats, out_feats, num_heads, attn_drop=0., negative_slope=0.2, residual=False, activation=None):
        super().__init__()
        self._num_heads = num_heads
        self._in_feats = in_feats
        self._out_feats = out_feats
        self.fc = nn.Linear(in_feats, out_feats * num_heads, bias=False)
        self.attn_l = nn.Parameter(torch.randn(1, num_heads, out_feats) * 0.1)
        self.attn_r = nn.Parameter(torch.randn(1, num_heads, out_feats) * 0.1)
        self.attn_drop = nn.Dropout(attn_drop)
        self.leaky_relu = nn.LeakyReLU(negative_slope)
        if residual:
            if in_feats != out_feats:
                self.res_fc = nn.Linear(in_feats, num_heads * out_feats, bias=False)
            else:
                self.res_fc = Identity()
        else:
            self.res_fc = None
        self.activation = activation

    def forward(self, graph, feat):
        src, dst = graph
        n = feat.shape[0]
        feat_src = feat_dst = self.fc(feat).view(n, self._num_heads, self._out_feats)
        el = (feat_src * self.attn_l).sum(dim=-1).unsqueeze(-1)
        er = (feat_dst * self.attn_r).sum(dim=-1).unsqueeze(-1)
        a = self.attn_drop(edge_softmax(self.leaky_relu(el[src] + er[dst]), dst, n))
        rst = feat_src.new_zeros(n, self._num_heads, self._out_feats).index_add(0, dst, feat_src[src] * a)
        if self.res_fc is not None:
            resval = self.res_fc(feat).view(n, self._num_heads, self._out_feats)
            rst = rst + resval
        return rst if self.activation is None else self.activation(rst)


class GAT(nn.Module):
    def __init__(self, num_layers, in_dim, num_hidden, num_classes, heads, activation, residual):
        super().__init__()
        self.num_layers = num_layers
        self.gat_layers = nn.ModuleList()
        # input projection (no residual)
        self.gat_layers.append(GATConv(in_dim, num_hidden, heads[0], activation=activation))
        # hidden layers, due to multi-head the in_dim = num_hidden * num_heads
        for l in range(1, num_layers):
            self.gat_layers.append(GATConv(num_hidden * heads[l - 1], num_hidden, heads[l], residual=residual, activation=activation))
        # output projection
        self.gat_layers.append(GATConv(num_hidden * heads[-2], num_classes, heads[-1], residual=residual))

    def forward(self, graph, inputs):
        h = inputs
        for l in range(self.num_layers):
            h = self.gat_layers[l](graph, h).flatten(1)
        return self.gat_layers[-1](graph, h).mean(1)


def random_graph(num_nodes, num_edges):
    loops = torch.arange(num_nodes)
    src = torch.cat([torch.randint(0, num_nodes, (num_edges,)), loops])
    dst = torch.cat([torch.randint(0, num_nodes, (num_edges,)), loops])
    return src, dst


def build(num_classes=8):
    return GAT(num_layers=2, in_dim=20, num_hidden=2, num_classes=num_classes, heads=[4, 4, 2], activation=F.elu, residual=True)


def step(model):
    graph = random_graph(30, 90)
    features, labels = torch.randn(30, 20), torch.randint(0, 8, (30,))
    train_mask = torch.arange(30) < 20
    logits = model(graph, features)
    return F.cross_entropy(logits[train_mask], labels[train_mask])


# real fix: the residual is the identity only where in_feats == out_feats * num_heads (later DGL: view(n, -1, out_feats) as well)
# offending tensor: the residual (30, 8) for (30, 2, 8)
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['gat_layers.2.res_fc', 'function:view'], dim=None, got=None, wanted=None,
             hint_any=['res_fc', 'identity', 'heads', 'residual', '16'])
MENDED = [('if in_feats != out_feats:', 'if in_feats != out_feats * num_heads:')]
