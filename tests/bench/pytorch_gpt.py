"""The networks of profiles/workloads/gpt2-124m.yaml and gpt-800m.yaml in PyTorch, for bench_gpt.

Compiled, AdamW fused, flash attention, bf16 autocast or tf32, gradients clipped to a norm of 1, as
mptune trains them; and with fp8 through torch._scaled_mm in the linear layers whose names are given.

    python3 tests/bench/pytorch_gpt.py WIDTH [bf16|tf32|eager|fp8:qkv,fc1,fc2]...
"""
import ctypes
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from measure_gpt_steps import LAYERS, TOKENS, VOCABULARY, Block, Gpt, Linear, median_ms

NETWORKS = {768: (12, 1024, True), 2048: (16, 2048, False)}  # heads, T, tied


def add_biases(model):
    """mptune's linear layers have biases, all but the head."""
    for name, layer in model.named_modules():
        if isinstance(layer, Linear) and name != "head":
            layer.bias = nn.Parameter(torch.zeros(layer.out_features))
            layer.forward = forward_with_bias(layer)


def forward_with_bias(layer):
    plain = Linear.forward

    def forward(x):
        if layer.fp8:
            return plain(layer, x) + layer.bias.to(torch.bfloat16)
        return F.linear(x, layer.weight, layer.bias)

    return forward


def joules():
    """Of the card since its driver was loaded, by NVML; nan where it does not count."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return float("nan")
    device, energy = ctypes.c_void_p(), ctypes.c_ulonglong()
    uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}".encode()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(device)):
        return float("nan")
    failed = nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(energy))
    return float("nan") if failed else 1e-3 * energy.value


def energy_of(step, steps):
    """Millijoules a token."""
    torch.cuda.synchronize()
    before = joules()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return 1e3 * (joules() - before) / steps / TOKENS


def measure(width, case):
    heads, length, tied = NETWORKS[width]
    torch.manual_seed(0)
    torch._dynamo.reset()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.set_float32_matmul_precision("high")
    model = Gpt(width, heads, length).cuda()
    add_biases(model)
    model = model.cuda()
    if tied:
        model.head.weight = model.embed.weight
    fp8 = case[4:].split(",") if case.startswith("fp8:") else ()
    for name, layer in model.named_modules():
        if isinstance(layer, Linear):
            layer.fp8 = name.split(".")[-1] in fp8
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    run = model if case == "eager" else torch.compile(model)
    shape = (TOKENS // length, length)
    ids = torch.randint(0, VOCABULARY, shape, device="cuda")
    targets = torch.randint(0, VOCABULARY, shape, device="cuda")

    def step():
        with torch.autocast("cuda", torch.bfloat16, enabled=case != "tf32"):
            loss = run(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    ms = median_ms(step, 20, 6)
    peak = torch.cuda.max_memory_allocated() / 2**30
    energy = energy_of(step, 30)
    print(f"PyTorch {case:20} {ms:10.2f} {TOKENS / ms * 1e3:12.0f} {peak:10.2f} {energy:10.3f}",
          flush=True)


if __name__ == "__main__":
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}, width {sys.argv[1]}: "
          "step in ms, tokens/s, GiB, mJ/token")
    for case in sys.argv[2:] or ["bf16"]:
        measure(int(sys.argv[1]), case)
