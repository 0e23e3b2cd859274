import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/DeepGraphLearning/torchdrug/issues/92 (torchdrug/models/gin.py before the repair)'
CATEGORY = 'layer'
DESCRIPTION = 'GIN with concat_hidden: output_dim is hidden_dims[-1] * len(hidden_dims), right while all layers have the same width; hidden_dims are changed to [64, 96].'


class Graph:
    def __init__(self, edge_list, node_feature, node2graph):
        self.edge_list, self.node_feature, self.node2graph = edge_list, node_feature, node2graph
        self.num_node, self.batch_size = len(node_feature), int(node2graph.max()) + 1


class MultiLayerPerceptron(nn.Module):
    def __init__(self, input_dim, hidden_dims, activation="relu"):
        super().__init__()
        self.dims = [input_dim] + list(hidden_dims)
        self.activation = getattr(F, activation)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(self.dims, self.dims[1:]))

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < len(self.layers) - 1:
                x = self.activation(x)
        return x


class GraphIsomorphismConv(nn.Module):
    def __init__(self, input_dim, output_dim, hidden_dims=(), batch_norm=False):
        super().__init__()
        self.eps = nn.Parameter(torch.zeros(1))
        self.batch_norm = nn.BatchNorm1d(output_dim) if batch_norm else None
        self.mlp = MultiLayerPerceptron(input_dim, list(hidden_dims) + [output_dim])

    def forward(self, graph, input):
        node_in, node_out = graph.edge_list.t()
        update = torch.zeros_like(input).index_add(0, node_out, input[node_in])
        output = self.mlp((1 + self.eps) * input + update)
        if self.batch_norm is not None:
            output = self.batch_norm(output)
        return F.relu(output)


class SumReadout(nn.Module):
    def forward(self, graph, input):
        out = input.new_zeros(graph.batch_size, input.size(-1))
        return out.index_add(0, graph.node2graph, input)


class GraphIsomorphismNetwork(nn.Module):
    def __init__(self, input_dim=None, hidden_dims=None, num_mlp_layer=2, short_cut=False, batch_norm=False,
                 concat_hidden=False):
        super().__init__()
        self.input_dim = input_dim
        self.output_dim = hidden_dims[-1] * (len(hidden_dims) if concat_hidden else 1)
        self.dims = [input_dim] + list(hidden_dims)
        self.short_cut = short_cut
        self.concat_hidden = concat_hidden
        self.layers = nn.ModuleList()
        for i in range(len(self.dims) - 1):
            layer_hidden_dims = [self.dims[i + 1]] * (num_mlp_layer - 1)
            self.layers.append(GraphIsomorphismConv(self.dims[i], self.dims[i + 1], layer_hidden_dims, batch_norm))
        self.readout = SumReadout()

    def forward(self, graph, input):
        hiddens = []
        layer_input = input
        for layer in self.layers:
            hidden = layer(graph, layer_input)
            if self.short_cut and hidden.shape == layer_input.shape:
                hidden = hidden + layer_input
            hiddens.append(hidden)
            layer_input = hidden
        node_feature = torch.cat(hiddens, dim=-1) if self.concat_hidden else hiddens[-1]
        return {"graph_feature": self.readout(graph, node_feature), "node_feature": node_feature}


class PropertyPrediction(nn.Module):
    def __init__(self, model, task):
        super().__init__()
        self.model = model
        self.task = task
        self.linear = nn.Linear(self.model.output_dim, len(task))

    def forward(self, batch):
        graph = batch["graph"]
        output = self.model(graph, graph.node_feature)
        pred = self.linear(output["graph_feature"])
        target = torch.stack([batch[t] for t in self.task], dim=-1)
        return F.binary_cross_entropy_with_logits(pred, target)


def molecules(batch_size=8, atoms=6, feature_dim=18):
    g = torch.Generator().manual_seed(5)
    ring = torch.stack([torch.arange(atoms), (torch.arange(atoms) + 1) % atoms], dim=1)
    edges = torch.cat([torch.cat([ring, ring.flip(1)]) + i * atoms for i in range(batch_size)])
    graph = Graph(edges, torch.randn(batch_size * atoms, feature_dim, generator=g),
                  torch.arange(batch_size).repeat_interleave(atoms))
    return {"graph": graph, "FDA_APPROVED": torch.ones(batch_size), "CT_TOX": torch.zeros(batch_size)}


def build():
    torch.manual_seed(0)
    model = GraphIsomorphismNetwork(input_dim=18, hidden_dims=[64, 96], short_cut=True, batch_norm=True, concat_hidden=True)
    return PropertyPrediction(model, task=["FDA_APPROVED", "CT_TOX"])


def step(task):
    return task(molecules())


TRUTH = dict(raises='RuntimeError', at='module:linear', culprits=['linear', 'model'], dim=1, got=160, wanted=192,
             hint_any=['160', '64 + 96', 'in_features', 'cat'])
MENDED = [('hidden_dims[-1] * (len(hidden_dims) if concat_hidden else 1)', '(sum(hidden_dims) if concat_hidden else hidden_dims[-1])')]
