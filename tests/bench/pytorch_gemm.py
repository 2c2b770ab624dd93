"""mpt_gemm beside torch.mm and torch._scaled_mm: every product of gpt2-124m and gpt-800m.

    python3 tests/bench/pytorch_gemm.py build/dev/tests/bench_gemm

For each product: milliseconds of mpt_gemm, of the first choice of cuBLASLt's heuristic through
mpt_gemm, and of PyTorch, on the same operands' layouts and into the same format (16 bits for 16-bit
and fp8 operands, fp32 for tf32), beta 0; and of mpt_gemm in the form that a training step asks for,
where that is another (a bias; wgrad added to an fp32 gradient). In turn, round after round, medians.
The last lines count what is slower.
"""
import ctypes
import os
import statistics
import subprocess
import sys

import torch

ROWS, ROUNDS, VOCABULARY = 16384, 5, 50304
MODELS = (("gpt2-124m", 768), ("gpt-800m", 2048))
LAYERS = {"qkv": (3, 1), "proj": (1, 1), "fc1": (4, 1), "fc2": (1, 4), "head": (None, 1)}  # x width
FORMATS = ("tf32", "bf16", "fp16", "fp8 split", "fp8 fast")
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16,
          "fp16": torch.float16, "fp8_e4m3": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}


class Product:
    """out[m,n] = op(a) op(b), laid out as a session does it."""

    def __init__(self, model, width, layer, gemm, kind):
        outputs, inputs = LAYERS[layer]
        n = VOCABULARY if outputs is None else outputs * width
        k = inputs * width
        fp8 = kind.startswith("fp8")
        self.name = f"{model} {layer} {gemm}"
        self.kind, self.gemm, self.fast = kind, gemm, kind == "fp8 fast"
        self.m, self.n, self.k = {"fprop": (ROWS, n, k), "dgrad": (ROWS, k, n),
                                  "wgrad": (n, k, ROWS)}[gemm]
        self.a = ("fp8_e4m3" if gemm == "fprop" else "fp8_e5m2") if fp8 else kind
        self.b = "fp8_e4m3" if fp8 else kind
        self.out = {"tf32": "fp32", "fp16": "fp16"}.get(kind, "bf16")
        self.transpose_a = gemm == "wgrad" and not fp8  # fp8 operands have k along their rows
        self.transpose_b = gemm == "fprop" or fp8
        self.bias = gemm == "fprop" and layer != "head"

    def line(self, in_step):
        accumulate = in_step and self.gemm == "wgrad"
        flags = (self.transpose_a, self.transpose_b, accumulate, in_step and self.bias, self.fast)
        return " ".join(map(str, ("case", self.m, self.n, self.k, self.a, self.b,
                                  "fp32" if accumulate else self.out, *map(int, flags))))


class Mptune:
    def __init__(self, program, tune=1, in_step=False):
        self.in_step = in_step
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=dict(os.environ, MPTUNE_GEMM_TUNE=str(tune)))

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def prepare(self, product):
        answer = self.ask(product.line(self.in_step))
        if answer != "ready":
            sys.exit(f"{product.name} {product.kind}: {answer or 'the program ended'}")

    def time(self):
        return float(self.ask("time"))


def random(rows, columns, dtype):
    return torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16).to(dtype)


class Torch:
    def prepare(self, product):
        p = product
        self.graph = None
        a, b, out = DTYPES[p.a], DTYPES[p.b], DTYPES[p.out]
        size = p.m * p.k * a.itemsize + p.k * p.n * b.itemsize + p.m * p.n * out.itemsize
        l2 = torch.cuda.get_device_properties(0).L2_cache_size
        self.sets = []
        for _ in range(2 * l2 // size + 1):
            x = random(p.k, p.m, a).t() if p.transpose_a else random(p.m, p.k, a)
            y = random(p.n, p.k, b).t() if p.transpose_b else random(p.k, p.n, b)
            self.sets.append((x, y, torch.empty(p.m, p.n, device="cuda", dtype=out)))
        self.fp8, self.fast, self.out = p.kind.startswith("fp8"), p.fast, out
        self.capture(1)
        self.capture(max(1, min(200, int(1 / self.time()))))

    def run(self, which):
        x, y, out = self.sets[which % len(self.sets)]
        if self.fp8:
            torch._scaled_mm(x, y, scale_a=self.one, scale_b=self.one, out_dtype=self.out,
                             use_fast_accum=self.fast, out=out)
        else:
            torch.mm(x, y, out=out)

    def capture(self, products):
        self.one = torch.ones((), device="cuda")
        self.run(0)
        torch.cuda.synchronize()
        self.graph, self.products = torch.cuda.CUDAGraph(), products
        with torch.cuda.graph(self.graph):
            for i in range(products):
                self.run(i)

    def time(self):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
        for event in events:  # the first replay warms up
            self.graph.replay()
            event.record()
        events[-1].synchronize()
        times = [a.elapsed_time(b) for a, b in zip(events, events[1:])]
        return statistics.median(times) / self.products


def cublaslt_version():
    """Of the library that PyTorch has loaded."""
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "libcublasLt.so" in line}
    return ", ".join(f"{ctypes.CDLL(path).cublasLtGetVersion()} ({path})" for path in paths)


def measure(contestants, product):
    differs = product.line(in_step=True) != product.line(in_step=False)
    order = [name for name in contestants if differs or name != "in step"]
    times = {name: [] for name in order}
    for name in order:
        contestants[name].prepare(product)
    for _ in range(ROUNDS):
        for name in order:
            times[name].append(contestants[name].time())
        order = order[1:] + order[:1]
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    torch.backends.cuda.matmul.allow_tf32 = True
    program = sys.argv[1]
    contestants = {"mpt_gemm": Mptune(program), "first": Mptune(program, tune=0), "torch": Torch(),
                   "in step": Mptune(program, in_step=True)}
    print(f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}, PyTorch {torch.__version__}, "
          f"{ROWS} rows; milliseconds")
    print(f"{'':22}{'m x n x k':>22}  {'format':10}{'mpt_gemm':>9}{'first':>9}{'torch':>9}"
          f"{'/first':>8}{'/torch':>8}{'TFLOP/s':>9}{'in step':>9}")
    print(f"PyTorch's cuBLASLt: {cublaslt_version()}")
    ratios = {"first": [], "torch": []}
    for kind in FORMATS:
        for model, width in MODELS:
            for layer in LAYERS:
                for gemm in ("fprop", "dgrad", "wgrad"):
                    product = Product(model, width, layer, gemm, kind)
                    times = measure(contestants, product)
                    ours = times["mpt_gemm"]
                    for name in ratios:
                        ratios[name].append(ours / times[name])
                    step = f"{times['in step']:9.4f}" if "in step" in times else ""
                    print(f"{product.name:22}{product.m:>6} x{product.n:>6} x{product.k:>6}"
                          f"  {kind:10}{ours:9.4f}{times['first']:9.4f}{times['torch']:9.4f}"
                          f"{ours / times['first']:8.3f}{ours / times['torch']:8.3f}"
                          f"{2e-9 * product.m * product.n * product.k / ours:9.0f}{step}",
                          flush=True)
    for name, values in ratios.items():
        slower = sum(value > 1.02 for value in values)
        print(f"of {len(values)} products {slower} take more than 1.02 of {name}'s time; the worst "
              f"{max(values):.3f}, the median {statistics.median(values):.3f}, "
              f"the best {min(values):.3f}")


if __name__ == "__main__":
    main()
