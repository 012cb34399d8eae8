"""Runs torch.optim on a small problem, for the tests of src/train/optim.

    python scripts/optim_reference.py

The problem: theta_k = sin(k) (k = 0..5), the second group theta_k = cos(k) with a
tenth of the rate; loss at step t: sum((theta - target_t)^4 / 4) with
target_t = sin(t + k), of all twelve. Prints JSON: for each optimizer the twelve
parameters after 100 steps.
"""

import json

import torch


def run(make):
    k = torch.arange(6, dtype=torch.float64)
    first, second = k.sin().requires_grad_(), k.cos().requires_grad_()
    optimizer = make([{"params": [first]}, {"params": [second], "lr": 0.005}])
    for step in range(100):
        target = (k + step).sin()
        loss = ((first - target) ** 4 / 4).sum() + ((second - target) ** 4 / 4).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.cat([first, second]).tolist()


OPTIMIZERS = {
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.05),
    "adam decay": lambda groups: torch.optim.Adam(groups, lr=0.05, weight_decay=0.1),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05),
    "sgd momentum decay": lambda groups: torch.optim.SGD(
        groups, lr=0.05, momentum=0.9, weight_decay=0.1
    ),
}

if __name__ == "__main__":
    print(json.dumps({name: run(make) for name, make in OPTIMIZERS.items()}))
