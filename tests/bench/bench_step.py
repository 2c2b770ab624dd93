#!/usr/bin/env python3
"""Step time of the built-in trainer beside PyTorch's (eager), on the same threads.

    python3 tests/bench/bench_step.py build/release/tests/bench_step

Needs PyTorch and numpy. A step is: gather a batch, forward, loss, backward, clip where the workload
clips, optimizer. Both sides report the best of three medians; the two programs take turns.
"""
import statistics
import subprocess
import sys
import time

import torch
from torch import nn
from torch.nn import functional

THREADS, STEPS = 2, 60


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, time_, width = x.shape
        q, k, v = (part.view(batch, time_, self.heads, -1).transpose(1, 2)
                   for part in self.qkv(x).split(width, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(batch, time_, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln1, self.ln2, self.attn = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"),
                                 nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class Gpt(nn.Module):
    def __init__(self, vocabulary=256, width=64, blocks=4, heads=4, sequence=64):
        super().__init__()
        self.embed, self.position = nn.Embedding(vocabulary, width), nn.Embedding(sequence, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.ln_f, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.places = torch.arange(sequence)

    def forward(self, ids):
        return self.head(self.ln_f(self.blocks(self.embed(ids) + self.position(self.places))))


def fashion_mlp():
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(),
                          nn.Linear(256, 10))
    images, labels = torch.rand(60000, 784), torch.randint(10, (60000,))

    def batch():
        index = torch.randint(60000, (128,))
        return images[index], labels[index]
    return model, torch.optim.Adam(model.parameters(), 1e-3), 0.0, batch


def fashion_cnn():
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10))
    images, labels = torch.rand(60000, 1, 28, 28), torch.randint(10, (60000,))

    def batch():
        index = torch.randint(60000, (32,))
        return images[index], labels[index]
    return model, torch.optim.Adam(model.parameters(), 1e-3), 0.0, batch


def text_gpt():
    model, text = Gpt(), torch.randint(256, (1 << 20,))

    def batch():
        window = torch.randint((1 << 20) - 65, (8, 1)) + torch.arange(65)
        ids = text[window]
        return ids[:, :-1], ids[:, 1:]
    return model, torch.optim.AdamW(model.parameters(), 3e-3, (0.9, 0.95)), 1.0, batch


def torch_step(make):
    model, optimizer, clip, batch = make()
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        x, y = batch()
        optimizer.zero_grad()
        out = model(x)
        loss = functional.cross_entropy(out.reshape(-1, out.shape[-1]), y.reshape(-1))
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        loss.item()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[STEPS // 10:])


def mptune_steps(program, workload):
    lines = subprocess.run([program, f"profiles/workloads/{workload}.yaml", str(STEPS), "fp32",
                            "fp8"], check=True, capture_output=True, text=True).stdout.split("\n")
    return {name: float(value) for name, value in (line.split() for line in lines if line)}


def main():
    torch.set_num_threads(THREADS)
    print(f"torch {torch.__version__}, {THREADS} threads, ms a step")
    print("| workload | PyTorch fp32 | mptune fp32 | ratio | mptune fp8 (emulated) | over fp32 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, make in (("fashion-mlp", fashion_mlp), ("fashion-cnn", fashion_cnn),
                       ("text-gpt", text_gpt)):
        torch_ms, ours = [], []
        for _ in range(3):
            torch_ms.append(torch_step(make))
            ours.append(mptune_steps(sys.argv[1], name))
        reference = min(torch_ms)
        fp32, fp8 = (min(steps[key] for steps in ours) for key in ("fp32", "fp8"))
        print(f"| {name} | {reference:.2f} | {fp32:.2f} | {fp32 / reference:.2f} | {fp8:.2f} | "
              f"{fp8 / fp32:.2f} |", flush=True)


if __name__ == "__main__":
    main()
