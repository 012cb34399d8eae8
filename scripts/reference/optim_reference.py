"""Runs torch.optim on a small problem, for the tests of src/train/optim.

    python scripts/reference/optim_reference.py

The problem: theta_k = sin(k) (k = 0..5), the second group theta_k = cos(k) with a
tenth of the rate; loss at step t: sum((theta - target_t)^4 / 4) with
target_t = sin(t + k), of all twelve. The rate is 0.05, of Adadelta 1. Prints JSON:
for each optimizer the twelve parameters after 100 steps.
"""

import json

import torch
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW


def run(make, **settings):
    rate = 1.0 if make is Adadelta else 0.05
    k = torch.arange(6, dtype=torch.float64)
    first, second = k.sin().requires_grad_(), k.cos().requires_grad_()
    groups = [{"params": [first]}, {"params": [second], "lr": rate * 0.1}]
    optimizer = make(groups, lr=rate, **settings)
    for step in range(100):
        target = (k + step).sin()
        loss = ((first - target) ** 4 / 4).sum() + ((second - target) ** 4 / 4).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.cat([first, second]).tolist()


OPTIMIZERS = {
    "adam": run(Adam),
    "adam decay": run(Adam, weight_decay=0.1),
    "adam betas epsilon": run(Adam, betas=(0.8, 0.9), eps=1e-3),
    "adamw": run(AdamW),
    "adamw decay": run(AdamW, weight_decay=0.1),
    "sgd": run(SGD),
    "sgd decay": run(SGD, weight_decay=0.1),
    "sgd momentum decay": run(SGD, momentum=0.9, weight_decay=0.1),
    "sgd nesterov decay": run(SGD, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adagrad": run(Adagrad),
    "adagrad decay epsilon": run(Adagrad, weight_decay=0.1, eps=1e-3),
    "adadelta": run(Adadelta),
    "adadelta decay rho epsilon": run(Adadelta, weight_decay=0.1, rho=0.8, eps=1e-3),
}

if __name__ == "__main__":
    print(json.dumps(OPTIMIZERS))
