"""Runs torch.optim.lr_scheduler, for the tests of src/train/schedule.

    python scripts/reference/schedule_reference.py

Prints JSON: for each schedule the learning rates of steps 0, 1, 2, ..., with a
rate of 0.05 of a run of 60 steps; of a plateau those after each dev value of
DEV[metric].
"""

import json
import math
import warnings

import torch
from torch.optim import lr_scheduler as of

RATE = 0.05
STEPS = 60
# Better and better and never smoothly, a loss from above and an accuracy from below.
WAVES = [0.02 * math.sin(2.0 * n) for n in range(STEPS)]
DEV = {
    "loss": [0.5 + 0.3 / (1 + 0.3 * n) + wave for n, wave in enumerate(WAVES)],
    "accuracy": [0.9 - 0.3 / (1 + 0.3 * n) + wave for n, wave in enumerate(WAVES)],
}


def new_optimizer():
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)


def rates(make):
    optimizer = new_optimizer()
    schedule = make(optimizer)
    seen = []
    for _ in range(STEPS):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def warm(make):
    """Eight steps of warm-up from a quarter of the rate, then `make`."""

    def both(optimizer):
        warmup = of.LinearLR(optimizer, start_factor=0.25, total_iters=8)
        return of.SequentialLR(optimizer, [warmup, make(optimizer)], milestones=[8])

    return both


def plateau(metric, **settings):
    optimizer = new_optimizer()
    mode = "min" if metric == "loss" else "max"
    schedule = of.ReduceLROnPlateau(optimizer, mode, **settings)
    seen = []
    for dev in DEV[metric]:
        schedule.step(dev)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


def one_cycle(optimizer, total_steps=STEPS, **settings):
    return of.OneCycleLR(
        optimizer, RATE, total_steps=total_steps, cycle_momentum=False, **settings
    )


def linear(optimizer, end, length):
    return of.LinearLR(
        optimizer, start_factor=1.0, end_factor=end, total_iters=length
    )


def all_of_them():
    schedules = {
        "linear": lambda o: linear(o, 0.0, STEPS),
        "linear short": lambda o: linear(o, 0.2, 40),
        "linear warm": warm(lambda o: linear(o, 0.2, STEPS - 8)),
        "cosine": lambda o: of.CosineAnnealingLR(o, STEPS),
        "cosine short": lambda o: of.CosineAnnealingLR(o, 25, eta_min=RATE * 0.1),
        "cosine warm": warm(lambda o: of.CosineAnnealingLR(o, STEPS - 8)),
        "step": lambda o: of.StepLR(o, 20),
        "step warm": warm(lambda o: of.StepLR(o, 7, gamma=0.7)),
        "warm": warm(lambda o: of.ConstantLR(o, factor=1.0)),
        "one_cycle": one_cycle,
        "one_cycle other": lambda o: one_cycle(
            o, pct_start=0.45, div_factor=10.0, final_div_factor=100.0
        ),
        "one_cycle down": lambda o: one_cycle(o, pct_start=0.0),
    }
    found = {name: rates(make) for name, make in schedules.items()}
    found["plateau loss"] = plateau("loss")
    found["plateau loss other"] = plateau(
        "loss", factor=0.6, patience=2, threshold=0.01, cooldown=3, min_lr=0.004
    )
    found["plateau accuracy"] = plateau(
        "accuracy", factor=0.5, patience=1, threshold=0.02
    )
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps({"rates": all_of_them(), "dev": DEV}))
