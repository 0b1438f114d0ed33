"""Muon: momentum whose update is orthogonalised, for weight matrices (and convolutions as matrices [out, in
* kh * kw]).

Every direction of a matrix moves at the same speed, which learns many rare things (a sprite is seen a few
hundred times) in far fewer pictures than AdamW does. Matrices of one shape are orthogonalised together:
single small products are slow on a CPU.
"""

import collections

import torch


def _orthogonalise(stack, steps=5):
    """Newton-Schulz iteration (quintic) towards the nearest orthogonal matrix, for a stack [n, rows,
    columns]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = stack.bfloat16()
    transposed = x.shape[-2] > x.shape[-1]
    if transposed:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if transposed else x).float()


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(parameters, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = collections.defaultdict(list)
            for p in group['params']:
                if p.grad is not None:
                    shapes[(p.shape[0], p[0].numel())].append(p)
            for (rows, columns), members in shapes.items():
                updates = []
                for p in members:
                    momentum = self.state[p].setdefault('momentum', torch.zeros_like(p))
                    momentum.lerp_(p.grad, 1 - group['momentum'])
                    updates.append(p.grad.lerp(momentum, group['momentum']).view(rows, columns))
                scale = group['lr'] * max(1.0, rows / columns) ** 0.5
                for p, update in zip(members, _orthogonalise(torch.stack(updates))):
                    p.mul_(1 - group['lr'] * group['weight_decay']).sub_(update.view_as(p), alpha=scale)
