import torch
import torch.nn as nn

SOURCE = 'https://github.com/DeepGraphLearning/GearNet/issues/24 (also torchdrug/issues/189)'
CATEGORY = 'layer'
DESCRIPTION = ('Protein structure: messages pass between residues along seven kinds of edges, and also between the edges themselves, in eight bins of angle.')


class Protein:
    def __init__(self, node_feature, edge_list, edge_feature):
        self.node_feature, self.edge_list, self.edge_feature = node_feature, edge_list, edge_feature
        self.num_node, self.num_edge = len(node_feature), len(edge_list)


class GraphConstruction(nn.Module):
    """edges anew from the residues: both residue types, the relation, distances along the chain and in space"""

    def forward(self, protein):
        node_in, node_out, relation = protein.edge_list.t()
        rel = nn.functional.one_hot(relation, 7).float()
        sequential = (node_in - node_out).abs().float().unsqueeze(-1)
        spatial = torch.rand(protein.num_edge, 9)
        feature = torch.cat([protein.node_feature[node_in], protein.node_feature[node_out], rel, sequential, spatial], dim=-1)
        return Protein(protein.node_feature, protein.edge_list, feature)


class GeometricRelationalGraphConv(nn.Module):
    def __init__(self, input_dim, output_dim, num_relation):
        super().__init__()
        self.input_dim, self.output_dim, self.num_relation = input_dim, output_dim, num_relation
        self.linear = nn.Linear(num_relation * input_dim, output_dim)
        self.self_loop = nn.Linear(input_dim, output_dim)

    def message_and_aggregate(self, num_node, edge_list, input):
        node_in, node_out, relation = edge_list.t()
        message = input[node_in]
        index = node_out * self.num_relation + relation
        update = torch.zeros(num_node * self.num_relation, input.shape[-1]).index_add(0, index, message)
        return update.view(num_node, self.num_relation * self.input_dim)

    def forward(self, num_node, edge_list, input):
        update = self.message_and_aggregate(num_node, edge_list, input)
        return torch.relu(self.linear(update) + self.self_loop(input))


class GearNet(nn.Module):
    def __init__(self, input_dim, hidden_dims, num_relation, edge_input_dim, num_angle_bin):
        super().__init__()
        self.num_relation, self.num_angle_bin = num_relation, num_angle_bin
        dims = [input_dim] + hidden_dims
        edge_dims = [edge_input_dim] + dims[:-1]
        self.layers = nn.ModuleList(GeometricRelationalGraphConv(a, b, num_relation) for a, b in zip(dims, dims[1:]))
        self.edge_layers = nn.ModuleList(GeometricRelationalGraphConv(a, b, num_angle_bin) for a, b in zip(edge_dims, edge_dims[1:]))

    def spatial_line_graph(self, graph):
        node_in, node_out = graph.edge_list[:, 0], graph.edge_list[:, 1]
        a, b = (node_out.unsqueeze(1) == node_in.unsqueeze(0)).nonzero(as_tuple=True)
        return torch.stack([a, b, (a + b) % self.num_angle_bin], dim=-1)

    def forward(self, graph, input):
        line_edges = self.spatial_line_graph(graph)
        hidden, edge_input = input, graph.edge_feature
        for conv, edge_conv in zip(self.layers, self.edge_layers):
            new = conv(graph.num_node, graph.edge_list, hidden)
            edge_input = edge_conv(graph.num_edge, line_edges, edge_input)
            index = graph.edge_list[:, 1] * self.num_relation + graph.edge_list[:, 2]
            update = torch.zeros(graph.num_node * self.num_relation, edge_input.shape[-1]).index_add(0, index, edge_input)
            new = new + update.view(graph.num_node, self.num_relation, -1).mean(1).mean(-1, keepdim=True)
            hidden = new
        return hidden.sum(0)


def build():
    torch.manual_seed(0)
    return GearNet(input_dim=21, hidden_dims=[64, 64], num_relation=7, edge_input_dim=59, num_angle_bin=8)


def step(model):
    g = torch.Generator().manual_seed(1)
    node_feature = nn.functional.one_hot(torch.randint(0, 21, (51,), generator=g), 21).float()
    edge_list = torch.stack([torch.randint(0, n, (200,), generator=g) for n in (51, 51, 7)], dim=-1)
    protein = Protein(node_feature, edge_list, torch.rand(200, 40, generator=g))
    output = model(protein, protein.node_feature)
    return output.pow(2).mean()


# answer in the thread: the edges still carry the 40 features of the pdb reader; a graph construction has to make the 59 the model is built for
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['input', 'edge_layers.0'], dim=1, got=40, wanted=59,
             hint_any=['59', '40', 'edge_input_dim', 'edge_feature'])
MENDED = [('protein = Protein(node_feature, edge_list, torch.rand(200, 40, generator=g))',
           'protein = GraphConstruction()(Protein(node_feature, edge_list, torch.rand(200, 40, generator=g)))')]
