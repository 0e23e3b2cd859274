import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/xinge008/Cylinder3D/issues/58 (and pull 118 of the same repository)'
CATEGORY = 'loss'
DESCRIPTION = 'Validation passes the configured val_batch_size to the model, the last batch of the set is smaller: cross_entropy gets a batch of 4 against 2.'

configs = dict(
    grid_size=[12, 10, 4],
    val_data_loader=dict(batch_size=4, shuffle=False),
    model_params=dict(fea_dim=9, out_fea_dim=16, num_class=20, init_size=8),
)


class cylinder_fea(nn.Module):
    def __init__(self, fea_dim=9, out_pt_fea_dim=16):
        super().__init__()
        self.PPmodel = nn.Sequential(
            nn.BatchNorm1d(fea_dim),
            nn.Linear(fea_dim, 32),
            nn.ReLU(),
            nn.Linear(32, out_pt_fea_dim),
        )

    def forward(self, pt_fea, xy_ind):
        cat_pt_ind = [torch.cat([torch.full((len(ind), 1), b, dtype=torch.long), ind], dim=1) for b, ind in enumerate(xy_ind)]
        cat_pt_fea = torch.cat(pt_fea, dim=0)
        cat_pt_ind = torch.cat(cat_pt_ind, dim=0)
        unq, unq_inv = torch.unique(cat_pt_ind, return_inverse=True, dim=0)
        processed = self.PPmodel(cat_pt_fea)
        pooled = torch.zeros(len(unq), processed.shape[1]).index_add(0, unq_inv, processed)
        return unq, pooled


class Asymm_3d_spconv(nn.Module):
    def __init__(self, output_shape, num_input_features, nclasses, init_size):
        super().__init__()
        self.sparse_shape = output_shape
        self.downCntx = nn.Conv3d(num_input_features, init_size, 3, padding=1)
        self.resBlock2 = nn.Conv3d(init_size, init_size, (3, 1, 3), padding=(1, 0, 1))
        self.logits = nn.Conv3d(init_size, nclasses, 3, padding=1)

    def to_dense(self, voxel_features, coors, batch_size):
        dense = voxel_features.new_zeros(batch_size, voxel_features.shape[1], *self.sparse_shape)
        b, x, y, z = coors.unbind(1)
        dense[b, :, x, y, z] = voxel_features
        return dense

    def forward(self, voxel_features, coors, batch_size):
        ret = self.to_dense(voxel_features, coors, batch_size)
        ret = torch.relu(self.downCntx(ret))
        ret = torch.relu(self.resBlock2(ret)) + ret
        return self.logits(ret)


class cylinder_asym(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        p = cfg['model_params']
        self.cylinder_3d_generator = cylinder_fea(p['fea_dim'], p['out_fea_dim'])
        self.cylinder_3d_spconv_seg = Asymm_3d_spconv(cfg['grid_size'], p['out_fea_dim'], p['num_class'], p['init_size'])

    def forward(self, pt_fea_ten, vox_ten, batch_size):
        coords, features_3d = self.cylinder_3d_generator(pt_fea_ten, vox_ten)
        return self.cylinder_3d_spconv_seg(features_3d, coords, batch_size)


class ScanDataset(Dataset):
    def __init__(self, n, grid):
        self.n, self.grid = n, np.array(grid)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        rng = np.random.RandomState(i)
        ind = (rng.rand(60, 3) * self.grid).astype(np.int64)
        voxel_label = rng.randint(0, 20, size=tuple(self.grid))
        return voxel_label, ind, rng.randn(60, 9).astype(np.float32)


def collate_fn_BEV(data):
    label = np.stack([d[0] for d in data]).astype(np.int64)
    return torch.from_numpy(label), [torch.from_numpy(d[1]) for d in data], [torch.from_numpy(d[2]) for d in data]


def build():
    torch.manual_seed(0)
    return cylinder_asym(configs)


def step(my_model):
    val_batch_size = configs['val_data_loader']['batch_size']
    loader = DataLoader(ScanDataset(6, configs['grid_size']), batch_size=val_batch_size, shuffle=False, collate_fn=collate_fn_BEV)
    loss_func = nn.CrossEntropyLoss(ignore_index=0)
    val_loss_list = []
    for val_label_tensor, val_grid_ten, val_pt_fea_ten in loader:
        predict_labels = my_model(val_pt_fea_ten, val_grid_ten, val_batch_size)
        val_loss_list.append(loss_func(predict_labels, val_label_tensor))
    return torch.stack(val_loss_list).mean()


# real fix: my_model(val_pt_fea_ten, val_grid_ten, val_label_tensor.shape[0])
# offending tensor: logits (4, 20, 12, 10, 4); the last batch holds 2 scans
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:new_zeros', 'input'], dim=0, got=4, wanted=2,
             hint_any=['batch_size', 'batch size', 'last batch', 'drop_last', 'shape[0]', 'new_zeros'])
MENDED = [('my_model(val_pt_fea_ten, val_grid_ten, val_batch_size)', 'my_model(val_pt_fea_ten, val_grid_ten, val_label_tensor.shape[0])')]
