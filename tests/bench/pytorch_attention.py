"""Causal attention of mptune beside PyTorch's scaled_dot_product_attention, on the same card:

    python3 tests/bench/pytorch_attention.py build/release/tests/bench_attention [FORMAT...]

runs that program and then PyTorch with each of its backends that takes the case (flash is
FlashAttention-2; math is what is left for fp32), on views of one packed tensor of queries, keys and
values. Its exit status is the program's.
"""
import statistics
import subprocess
import sys
import warnings

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32, "fp32": torch.float32}
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def time_of(run, repeats=11, calls=5):
    """Microseconds a call: the median of `repeats` runs of `calls` calls."""
    times = []
    for i in range(repeats + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            run()
        end.record()
        end.synchronize()
        if i >= 1:
            times.append(start.elapsed_time(end) / calls * 1e3)
    return statistics.median(times)


def measure(dtype, batch, heads, length, depth, backend):
    """Forward and backward in microseconds; None where the backend refuses."""
    packed = torch.randn(batch, length, 3, heads, depth, device="cuda", dtype=dtype)
    q, k, v = (x.transpose(1, 2).detach().requires_grad_() for x in packed.unbind(2))
    grad = torch.randn(batch, length, heads, depth, device="cuda", dtype=dtype).transpose(1, 2)
    try:
        with sdpa_kernel(BACKENDS[backend]):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            forward = time_of(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True))
            backward = time_of(lambda: torch.autograd.grad(y, (q, k, v), grad, retain_graph=True))
    except RuntimeError:
        return None
    return {"forward": forward, "backward": backward}


def main():
    warnings.simplefilter("ignore", UserWarning)  # a line for every backend that refuses
    ours = {}
    with subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True) as program:
        for line in program.stdout:
            print(line, end="", flush=True)
            words = line.split()
            if words[:1] == ["time"]:
                ours.setdefault((words[1], *map(int, words[2:6])), {})[words[6]] = float(words[7])
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    print("microseconds; in brackets: PyTorch's time over ours, the share of its speed")
    for case, times in ours.items():
        torch.backends.cuda.matmul.allow_tf32 = case[0] == "tf32"
        theirs = {b: measure(DTYPES[case[0]], *case[1:], b) for b in BACKENDS}
        for name, time in times.items():
            cells = "  ".join(
                f"{b} {t[name]:8.1f} [{t[name] / time:4.2f}]" for b, t in theirs.items() if t)
            print(f"{case[0]:5} {str(case[1:]):20} {name:9} {time:9.1f}  {cells}", flush=True)
    return program.returncode


if __name__ == "__main__":
    sys.exit(main())
