import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = ('https://github.com/Lin-Yijie/Graph-Matching-Networks/issues/3 (1604 x 66 against 65; repaired in pull request 4)')
CATEGORY = 'layer'
DESCRIPTION = ('Graph embedding network for pairs of alike graphs: the message network was sized for two node states and one number a edge; with edge features '
               'of two numbers, which no edge encoder brings to another width, its first layer does not fit.')


class GraphEncoder(nn.Module):
    def __init__(self, node_feature_dim, edge_feature_dim, node_hidden_sizes, edge_hidden_sizes=None):
        super().__init__()
        sizes = [node_feature_dim] + node_hidden_sizes
        self.MLP1 = self._mlp(sizes)
        self.MLP2 = self._mlp([edge_feature_dim] + edge_hidden_sizes) if edge_hidden_sizes else None

    @staticmethod
    def _mlp(sizes):
        layer = []
        for i in range(1, len(sizes)):
            layer.append(nn.Linear(sizes[i - 1], sizes[i]))
            if i < len(sizes) - 1:
                layer.append(nn.ReLU())
        return nn.Sequential(*layer)

    def forward(self, node_features, edge_features):
        edge_outputs = edge_features if self.MLP2 is None else self.MLP2(edge_features)
        return self.MLP1(node_features), edge_outputs


def unsorted_segment_sum(data, segment_ids, num_segments):
    return data.new_zeros(num_segments, *data.shape[1:]).index_add(0, segment_ids, data)


def graph_prop_once(node_states, from_idx, to_idx, message_net, edge_features=None):
    edge_inputs = [node_states[from_idx], node_states[to_idx]]
    if edge_features is not None:
        edge_inputs.append(edge_features)
    messages = message_net(torch.cat(edge_inputs, dim=-1))
    return unsorted_segment_sum(messages, to_idx, node_states.shape[0])


class GraphPropLayer(nn.Module):
    def __init__(self, node_state_dim, edge_hidden_sizes, use_reverse_direction=True):
        super().__init__()
        self._node_state_dim = node_state_dim
        self._edge_hidden_sizes = edge_hidden_sizes
        self._message_net = self._build_message_net()
        self._reverse_message_net = self._build_message_net() if use_reverse_direction else None
        self.GRU = nn.GRU(edge_hidden_sizes[-1], node_state_dim)

    def _build_message_net(self):
        layer = [nn.Linear(self._node_state_dim * 2 + 1, self._edge_hidden_sizes[0])]
        for i in range(1, len(self._edge_hidden_sizes)):
            layer.append(nn.ReLU())
            layer.append(nn.Linear(self._edge_hidden_sizes[i - 1], self._edge_hidden_sizes[i]))
        return nn.Sequential(*layer)

    def forward(self, node_states, from_idx, to_idx, edge_features):
        agg = graph_prop_once(node_states, from_idx, to_idx, self._message_net, edge_features)
        if self._reverse_message_net is not None:
            agg = agg + graph_prop_once(node_states, to_idx, from_idx, self._reverse_message_net, edge_features)
        _, new_states = self.GRU(agg.unsqueeze(0), node_states.unsqueeze(0))
        return new_states.squeeze(0)


class GraphAggregator(nn.Module):
    def __init__(self, node_dim, graph_dim):
        super().__init__()
        self.MLP1 = nn.Linear(node_dim, graph_dim * 2)
        self.MLP2 = nn.Linear(graph_dim, graph_dim)

    def forward(self, node_states, graph_idx, n_graphs):
        gates, states = self.MLP1(node_states).chunk(2, dim=-1)
        return self.MLP2(unsorted_segment_sum(torch.sigmoid(gates) * states, graph_idx, n_graphs))


class GraphEmbeddingNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        self._encoder = GraphEncoder(config['node_feature_dim'], config['edge_feature_dim'], config['node_hidden_sizes'], config['encoder_edge_hidden_sizes'])
        layer = GraphPropLayer(config['node_state_dim'], config['edge_hidden_sizes'])
        n = config['n_prop_layers']
        self._prop_layers = nn.ModuleList([layer] * n if config['share_prop_params'] else
                                          [GraphPropLayer(config['node_state_dim'], config['edge_hidden_sizes']) for _ in range(n)])
        self._aggregator = GraphAggregator(config['node_state_dim'], config['graph_rep_dim'])

    def forward(self, node_features, edge_features, from_idx, to_idx, graph_idx, n_graphs):
        node_states, edge_features = self._encoder(node_features, edge_features)
        for layer in self._prop_layers:
            node_states = layer(node_states, from_idx, to_idx, edge_features)
        return self._aggregator(node_states, graph_idx, n_graphs)


CONFIG = dict(node_feature_dim=2, edge_feature_dim=2, node_hidden_sizes=[32], encoder_edge_hidden_sizes=None, node_state_dim=32,
              edge_hidden_sizes=[64, 64], n_prop_layers=5, share_prop_params=True, graph_rep_dim=64)


def pack_batch(n_graphs, nodes=10, edges=20):
    offsets = torch.arange(n_graphs).repeat_interleave(edges) * nodes
    from_idx = torch.randint(0, nodes, (n_graphs * edges,)) + offsets
    to_idx = torch.randint(0, nodes, (n_graphs * edges,)) + offsets
    graph_idx = torch.arange(n_graphs).repeat_interleave(nodes)
    node_features = torch.ones(n_graphs * nodes, CONFIG['node_feature_dim'])
    edge_features = torch.ones(n_graphs * edges, CONFIG['edge_feature_dim'])
    return node_features, edge_features, from_idx, to_idx, graph_idx, n_graphs


def build():
    torch.manual_seed(0)
    return GraphEmbeddingNet(CONFIG)


def step(model, pairs=16):
    vectors = model(*pack_batch(2 * pairs))
    x, y = vectors[0::2], vectors[1::2]
    labels = torch.randint(0, 2, (pairs,)) * 2 - 1
    return F.relu(1.0 - labels * (1 - (x - y).pow(2).sum(-1))).mean()


# real fix (pull request 4): the width of the edge features goes into the layer, nn.Linear(node_state_dim * 2 + edge_state_dim, ...)
TRUTH = dict(raises='RuntimeError', at='module:_prop_layers.0._message_net.0',
             culprits=['_prop_layers.0._message_net.0'], dim=1, got=66, wanted=65, hint_any=['66', 'in_features'])
MENDED = [('nn.Linear(self._node_state_dim * 2 + 1, ', "nn.Linear(self._node_state_dim * 2 + CONFIG['edge_feature_dim'], ")]
