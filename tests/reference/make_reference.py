#!/usr/bin/env python3
"""Makes losses.json: what PyTorch's losses are, from the weights and batches of test_reference.

    python3 tests/reference/make_reference.py build/dev/tests/test_reference

Needs PyTorch (any CPU build) and numpy. The program exports the initial weights and the batches of
three models; this script builds the same networks of torch modules, trains each with three
optimizers in fp32 and writes the losses of 50 steps beside itself. test_reference compares.
"""
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from torch import nn
from torch.nn import functional

STEPS, BATCH = 50, 8


class Mlp(nn.Module):
    inputs, labels, integers = (20,), (), False

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.head = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, x):
        return self.head(torch.tanh(self.fc2(torch.relu(self.fc1(x)))))


class Cnn(nn.Module):
    inputs, labels, integers = (2, 12, 12), (), False

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.head = nn.Linear(72, 5)

    def forward(self, x):
        x = functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = functional.gelu(self.conv2(x), approximate="tanh")
        return self.head(x.flatten(1))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, time, width = x.shape
        q, k, v = (part.view(batch, time, self.heads, -1).transpose(1, 2)
                   for part in self.qkv(x).split(width, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(batch, time, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width),
                                  "fc2": nn.Linear(4 * width, width)})

    def forward(self, x):
        middle = x + self.attn(self.ln1(x))
        hidden = functional.gelu(self.mlp["fc1"](middle), approximate="tanh")
        return middle + self.mlp["fc2"](hidden)


class Gpt(nn.Module):
    inputs, labels, integers = (16,), (16,), True

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(48, 32)
        self.position = nn.Parameter(torch.zeros(16, 32))
        self.blocks = nn.ModuleList(Block(32, 2) for _ in range(2))
        self.ln_f = nn.LayerNorm(32)

    def forward(self, ids):
        x = self.embed(ids) + self.position
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.ln_f(x), self.embed.weight)  # tied


def read_weights(path):
    raw = path.read_bytes()
    line = raw.index(b"\n")
    header, offset, weights = json.loads(raw[:line]), line + 1, {}
    for parameter in header["parameters"]:
        count = math.prod(parameter["shape"])
        values = numpy.frombuffer(raw, "<f4", count, offset).reshape(parameter["shape"])
        name = "position" if parameter["name"] == "embed.position" else parameter["name"]
        weights[name] = torch.from_numpy(values.copy())
        offset += 4 * count
    assert offset == len(raw)
    return weights


def read_batches(path, model):
    raw, offset, batches = path.read_bytes(), 0, []
    for _ in range(STEPS):
        count, rows = BATCH * math.prod(model.inputs), BATCH * math.prod(model.labels)
        kind = "<i4" if model.integers else "<f4"
        x = numpy.frombuffer(raw, kind, count, offset).reshape(BATCH, *model.inputs)
        offset += 4 * count
        y = numpy.frombuffer(raw, "<i4", rows, offset).astype("i8")
        offset += 4 * rows
        x = torch.from_numpy(x.astype("i8") if model.integers else x.copy())
        batches.append((x, torch.from_numpy(y)))
    assert offset == len(raw)
    return batches


def learning_rate(base, step, warmup=5, final=0.1):
    if step < warmup:
        return base * (step + 1) / warmup
    progress = (step - warmup) / (STEPS - 1 - warmup)
    return base * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))


def make_optimizer(name, model):
    parameters = list(model.parameters())
    if name == "sgd":
        return 0.05, torch.optim.SGD(parameters, lr=1.0, momentum=0.9, weight_decay=1e-3)
    if name == "adam":
        return 2e-3, torch.optim.Adam(parameters, lr=1.0, betas=(0.9, 0.98), weight_decay=1e-3)
    groups = [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
              {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]
    return 2e-3, torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.98))


def train(kind, optimizer_name, weights, batches):
    model = kind()
    model.load_state_dict(weights)
    base, optimizer = make_optimizer(optimizer_name, model)
    losses = []
    for step, (x, y) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(base, step)
        optimizer.zero_grad()
        out = model(x)
        loss = functional.cross_entropy(out.reshape(-1, out.shape[-1]), y)
        loss.backward()
        if kind is Gpt:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(round(loss.item(), 7))
    return losses


def main():
    torch.set_num_threads(1)
    result = {"torch": torch.__version__, "steps": STEPS, "losses": {}}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([sys.argv[1], "--export", folder], check=True)
        for name, kind in (("mlp", Mlp), ("cnn", Cnn), ("gpt", Gpt)):
            weights = read_weights(folder / f"{name}.weights")
            batches = read_batches(folder / f"{name}.batches", kind)
            result["losses"][name] = {
                optimizer: train(kind, optimizer, weights, batches)
                for optimizer in ("sgd", "adam", "adamw")}
    text = json.dumps(result, indent=1)
    (pathlib.Path(__file__).parent / "losses.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
