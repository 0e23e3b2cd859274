import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/nnzhan/MTGNN/issues/37'
CATEGORY = 'layer'
DESCRIPTION = 'MTGNN run on a series of 321 variables with the --num_nodes 137 of another data set: the learned graph is 137 x 137.'

parser = argparse.ArgumentParser()
parser.add_argument('--gcn_depth', type=int, default=2)
parser.add_argument('--num_nodes', type=int, default=137)
parser.add_argument('--subgraph_size', type=int, default=20)
parser.add_argument('--node_dim', type=int, default=24)
parser.add_argument('--conv_channels', type=int, default=8)
parser.add_argument('--residual_channels', type=int, default=8)
parser.add_argument('--skip_channels', type=int, default=16)
parser.add_argument('--in_dim', type=int, default=1)
parser.add_argument('--seq_in_len', type=int, default=13)
parser.add_argument('--seq_out_len', type=int, default=1)
parser.add_argument('--layers', type=int, default=2)
parser.add_argument('--propalpha', type=float, default=0.05)
parser.add_argument('--tanhalpha', type=float, default=3)
parser.add_argument('--batch_size', type=int, default=4)
args = parser.parse_args([])


class nconv(nn.Module):
    def forward(self, x, A):
        x = torch.einsum('ncwl,vw->ncvl', (x, A))
        return x.contiguous()


class linear(nn.Module):
    def __init__(self, c_in, c_out, bias=True):
        super(linear, self).__init__()
        self.mlp = torch.nn.Conv2d(c_in, c_out, kernel_size=(1, 1), bias=bias)

    def forward(self, x):
        return self.mlp(x)


class mixprop(nn.Module):
    def __init__(self, c_in, c_out, gdep, alpha):
        super(mixprop, self).__init__()
        self.nconv = nconv()
        self.mlp = linear((gdep + 1) * c_in, c_out)
        self.gdep = gdep
        self.alpha = alpha

    def forward(self, x, adj):
        adj = adj + torch.eye(adj.size(0))
        d = adj.sum(1)
        h = x
        out = [h]
        a = adj / d.view(-1, 1)
        for i in range(self.gdep):
            h = self.alpha * x + (1 - self.alpha) * self.nconv(h, a)
            out.append(h)
        ho = torch.cat(out, dim=1)
        return self.mlp(ho)


class graph_constructor(nn.Module):
    def __init__(self, nnodes, k, dim, alpha=3):
        super(graph_constructor, self).__init__()
        self.nnodes = nnodes
        self.emb1 = nn.Embedding(nnodes, dim)
        self.emb2 = nn.Embedding(nnodes, dim)
        self.lin1 = nn.Linear(dim, dim)
        self.lin2 = nn.Linear(dim, dim)
        self.k = k
        self.alpha = alpha

    def forward(self, idx):
        nodevec1 = torch.tanh(self.alpha * self.lin1(self.emb1(idx)))
        nodevec2 = torch.tanh(self.alpha * self.lin2(self.emb2(idx)))
        a = torch.mm(nodevec1, nodevec2.transpose(1, 0)) - torch.mm(nodevec2, nodevec1.transpose(1, 0))
        adj = F.relu(torch.tanh(self.alpha * a))
        mask = torch.zeros(idx.size(0), idx.size(0))
        s1, t1 = (adj + torch.rand_like(adj) * 0.01).topk(self.k, 1)
        mask.scatter_(1, t1, s1.fill_(1))
        return adj * mask


class gtnet(nn.Module):
    def __init__(self, args):
        super(gtnet, self).__init__()
        c, r = args.conv_channels, args.residual_channels
        self.start_conv = nn.Conv2d(args.in_dim, r, kernel_size=(1, 1))
        self.gc = graph_constructor(args.num_nodes, args.subgraph_size, args.node_dim, alpha=args.tanhalpha)
        self.filter_convs = nn.ModuleList()
        self.gate_convs = nn.ModuleList()
        self.gconv1 = nn.ModuleList()
        self.gconv2 = nn.ModuleList()
        self.skip_convs = nn.ModuleList()
        length = args.seq_in_len
        for i in range(args.layers):
            self.filter_convs.append(nn.Conv2d(r, c, (1, 3)))
            self.gate_convs.append(nn.Conv2d(r, c, (1, 3)))
            length -= 2
            self.skip_convs.append(nn.Conv2d(c, args.skip_channels, (1, length)))
            self.gconv1.append(mixprop(c, r, args.gcn_depth, args.propalpha))
            self.gconv2.append(mixprop(c, r, args.gcn_depth, args.propalpha))
        self.end_conv = nn.Conv2d(args.skip_channels, args.seq_out_len, (1, 1))
        self.idx = torch.arange(args.num_nodes)

    def forward(self, input):
        adp = self.gc(self.idx)
        x = self.start_conv(input)
        skip = 0
        for i in range(len(self.filter_convs)):
            residual = x
            x = torch.tanh(self.filter_convs[i](x)) * torch.sigmoid(self.gate_convs[i](x))
            skip = skip + self.skip_convs[i](x)
            x = self.gconv1[i](x, adp) + self.gconv2[i](x, adp.transpose(1, 0))
            x = x + residual[:, :, :, -x.size(3):]
        return self.end_conv(F.relu(skip))


class DataLoaderS(object):
    def __init__(self, rawdat, window, horizon=3):
        self.P, self.h = window, horizon
        self.dat = rawdat / rawdat.abs().max(0).values
        self.n, self.m = self.dat.shape

    def get_batches(self, batch_size):
        idx = torch.arange(self.P + self.h - 1, self.n)
        for start in range(0, len(idx), batch_size):
            part = idx[start:start + batch_size]
            X = torch.stack([self.dat[i - self.h + 1 - self.P:i - self.h + 1] for i in part.tolist()])
            yield X, self.dat[part]


def build():
    torch.manual_seed(0)
    return gtnet(args)


def step(model):
    torch.manual_seed(1)
    Data = DataLoaderS(torch.rand(24, 321), args.seq_in_len)
    total_loss = 0
    for X, Y in Data.get_batches(args.batch_size):
        X = torch.unsqueeze(X, dim=1)
        X = X.transpose(2, 3)
        output = torch.squeeze(model(X), dim=3).squeeze(1)
        total_loss = total_loss + F.l1_loss(output, Y)
    return total_loss


# real fix: --num_nodes 321
# offending tensor: the adjacency (137, 137) that graph_constructor makes from its 137 embeddings
TRUTH = dict(raises='RuntimeError', at='function:einsum', culprits=['gc.emb1', 'gc.emb2', 'gc', 'function:arange'], dim=1, got=137, wanted=321,
             hint_any=['num_nodes', 'num_embeddings', 'nodes', '321', 'embedding'])
MENDED = [("'--num_nodes', type=int, default=137", "'--num_nodes', type=int, default=321")]
