"""mpt_gemm beside torch.mm and torch._scaled_mm: every product of gpt2-124m and gpt-800m.

    python3 tests/bench/pytorch_gemm.py build/dev/tests/libgemm_module.so [words]

For each product, milliseconds of mpt_gemm, of the first choice of cuBLASLt's heuristic through
mpt_gemm, and of PyTorch, all in one process, on one stream and on the same memory: operands laid
out as a session does it, into the same format (16 bits for 16-bit and fp8 operands, fp32 for tf32),
beta 0. PyTorch may reduce partial sums in 16 bits, which mpt_gemm never does; "fair" is PyTorch told
not to. Where a training step asks for another form (a bias; wgrad added to an fp32 gradient),
mpt_gemm's time for that, and PyTorch's with a bias of the output's format.
Graphs of about a millisecond, in turn without pauses, medians. Words select products: all of them
must be in "gpt2-124m fc1 wgrad bf16". The last lines count what is slower.
"""
import ctypes
import statistics
import sys
import time

import torch

ROWS, ROUNDS, VOCABULARY = 16384, 7, 50304
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
        self.kind, self.fp8, self.fast = kind, fp8, kind == "fp8 fast"
        self.m, self.n, self.k = {"fprop": (ROWS, n, k), "dgrad": (ROWS, k, n),
                                  "wgrad": (n, k, ROWS)}[gemm]
        self.a = ("fp8_e4m3" if gemm == "fprop" else "fp8_e5m2") if fp8 else kind
        self.b = "fp8_e4m3" if fp8 else kind
        self.out = {"tf32": "fp32", "fp16": "fp16"}.get(kind, "bf16")
        self.transpose_a = gemm == "wgrad" and not fp8  # fp8 operands have k along their rows
        self.transpose_b = gemm == "fprop" or fp8
        self.bias = gemm == "fprop" and layer != "head"
        self.accumulate = gemm == "wgrad"


def random(rows, columns, dtype):
    """With all bits of the format drawn: products of shorter numbers take less power, and time."""
    return torch.randn(rows, columns, device="cuda").to(dtype)


class Operands:
    """Sets in turn, together larger than the L2 cache."""

    def __init__(self, p):
        a, b, out = DTYPES[p.a], DTYPES[p.b], DTYPES[p.out]
        size = p.m * p.k * a.itemsize + p.k * p.n * b.itemsize + p.m * p.n * out.itemsize
        l2 = torch.cuda.get_device_properties(0).L2_cache_size
        self.sets = []
        for _ in range(2 * l2 // size + 1):
            x = random(p.k, p.m, a).t() if p.transpose_a else random(p.m, p.k, a)
            y = random(p.n, p.k, b).t() if p.transpose_b else random(p.k, p.n, b)
            self.sets.append((x, y, torch.empty(p.m, p.n, device="cuda", dtype=out),
                              torch.zeros(p.m, p.n, device="cuda") if p.accumulate else None))
        self.bias = torch.randn(p.n, device="cuda")
        self.narrow_bias = self.bias.to(torch.bfloat16 if p.fp8 else out)
        self.one = torch.ones((), device="cuda")


class ModuleProduct(ctypes.Structure):
    _fields_ = ([(name, ctypes.c_int64) for name in ("m", "n", "k")]
                + [(name, ctypes.c_char_p) for name in ("format_a", "format_b", "format_out")]
                + [(name, ctypes.c_void_p) for name in ("a", "b", "out", "bias")]
                + [(name, ctypes.c_int32) for name in ("transpose_a", "transpose_b", "accumulate",
                                                       "fast")])


class Mptune:
    def __init__(self, module, stream, tune):
        self.module = module
        self.queue = module.module_open(stream.cuda_stream, tune)
        if not self.queue:
            sys.exit(module.module_error().decode())

    def product(self, p, operands, in_step=False):
        def run(which):
            x, y, out, gradient = operands.sets[which % len(operands.sets)]
            accumulate = in_step and p.accumulate
            call = ModuleProduct(
                p.m, p.n, p.k, p.a.encode(), p.b.encode(),
                b"fp32" if accumulate else p.out.encode(), x.data_ptr(), y.data_ptr(),
                (gradient if accumulate else out).data_ptr(),
                operands.bias.data_ptr() if in_step and p.bias else None,
                p.transpose_a, p.transpose_b, accumulate, p.fast)
            if self.module.module_run(self.queue, ctypes.byref(call)):
                sys.exit(f"{p.name} {p.kind}: {self.module.module_error().decode()}")
        return run


def torch_product(p, operands, in_step=False, fair=False):
    matmul = torch.backends.cuda.matmul
    bias = operands.narrow_bias if in_step else None

    def run(which):
        x, y, out, _ = operands.sets[which % len(operands.sets)]
        matmul.allow_bf16_reduced_precision_reduction = not fair
        matmul.allow_fp16_reduced_precision_reduction = not fair
        if p.fp8:
            torch._scaled_mm(x, y, scale_a=operands.one, scale_b=operands.one, bias=bias,
                             out_dtype=DTYPES[p.out], use_fast_accum=p.fast, out=out)
        elif bias is not None:
            torch.addmm(bias, x, y, out=out)
        else:
            torch.mm(x, y, out=out)
    return run


def capture(run, products, stream):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for i in range(products):
            run(i)
    return graph


def replays(graphs, order, rounds):
    """Milliseconds of each graph in each round; a round more is run before, which warms up."""
    turns = [order[r % len(order):] + order[:r % len(order)] for r in range(rounds + 1)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(1 + len(order) * (rounds + 1))]
    times, at = {name: [] for name in order}, 0
    events[0].record()
    for turn in turns:
        for name in turn:
            graphs[name].replay()
            at += 1
            events[at].record()
    events[-1].synchronize()
    for i, name in enumerate(name for turn in turns for name in turn):
        if i >= len(order):
            times[name].append(events[i].elapsed_time(events[i + 1]))
    return times


def contestants_of(p, operands, tuned, first):
    runs = {"mpt_gemm": tuned.product(p, operands), "first": first.product(p, operands),
            "torch": torch_product(p, operands)}
    if p.kind in ("bf16", "fp16"):
        runs["fair"] = torch_product(p, operands, fair=True)
    if p.bias or p.accumulate:
        runs["in step"] = tuned.product(p, operands, in_step=True)
    if p.bias:
        runs["torch bias"] = torch_product(p, operands, in_step=True)
    return runs


def measure(p, stream, tuned, first):
    """Median milliseconds by contestant, and seconds that choosing took in mpt_gemm."""
    operands, choosing = Operands(p), 0.0
    runs = contestants_of(p, operands, tuned, first)
    for name, run in runs.items():
        stream.synchronize()
        start = time.perf_counter()
        run(0)
        stream.synchronize()
        if name == "mpt_gemm":
            choosing = time.perf_counter() - start
    graphs = {name: capture(run, 1, stream) for name, run in runs.items()}
    once = statistics.median(replays({"torch": graphs["torch"]}, ["torch"], 3)["torch"])
    products = max(1, min(100, int(1 / once)))
    if products > 1:
        graphs = {name: capture(run, products, stream) for name, run in runs.items()}
    times = replays(graphs, list(runs), ROUNDS)
    return {name: statistics.median(v) / products for name, v in times.items()}, choosing


def cublaslt_version():
    """Of the library that PyTorch and mptune have loaded."""
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "libcublasLt.so" in line}
    return ", ".join(f"{ctypes.CDLL(path).cublasLtGetVersion()} ({path})" for path in paths)


def products(words):
    for kind in FORMATS:
        for model, width in MODELS:
            for layer in LAYERS:
                for gemm in ("fprop", "dgrad", "wgrad"):
                    p = Product(model, width, layer, gemm, kind)
                    if all(word in f"{p.name} {kind}" for word in words):
                        yield p


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    torch.backends.cuda.matmul.allow_tf32 = True
    module = ctypes.CDLL(sys.argv[1])
    module.module_open.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    module.module_open.restype = ctypes.c_void_p
    module.module_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    module.module_error.restype = ctypes.c_char_p
    stream = torch.cuda.Stream()
    torch.cuda.set_stream(stream)
    tuned, first = Mptune(module, stream, b"1"), Mptune(module, stream, b"0")
    print(f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}, PyTorch "
          f"{torch.__version__}, cuBLASLt {cublaslt_version()}, {ROWS} rows; milliseconds")
    columns = ("mpt_gemm", "first", "torch", "fair", "in step", "torch bias")
    print(f"{'':22}{'m x n x k':>22}  {'format':10}" + "".join(f"{c:>11}" for c in columns)
          + f"{'/first':>8}{'/torch':>8}{'/fair':>8}{'TFLOP/s':>9}{'choosing':>10}")
    ratios, choosing = {"first": [], "torch": [], "fair": []}, {}
    for p in products(sys.argv[2:]):
        times, seconds = measure(p, stream, tuned, first)
        ours = times["mpt_gemm"]
        times.setdefault("fair", times["torch"])
        for name in ratios:
            ratios[name].append(ours / times[name])
        key = f"{p.name.split()[0]} {p.kind}"
        choosing[key] = choosing.get(key, 0) + seconds
        print(f"{p.name:22}{p.m:>6} x{p.n:>6} x{p.k:>6}  {p.kind:10}"
              + "".join(f"{times[c]:11.4f}" if c in times else f"{'':11}" for c in columns)
              + "".join(f"{ours / times[c]:8.3f}" for c in ratios)
              + f"{2e-9 * p.m * p.n * p.k / ours:9.0f}{1e3 * seconds:10.1f}", flush=True)
        torch.cuda.empty_cache()
    for name, values in ratios.items():
        slower = sum(value > 1.02 for value in values)
        print(f"of {len(values)} products {slower} take more than 1.02 of {name}'s time; the worst "
              f"{max(values):.3f}, the median {statistics.median(values):.3f}, "
              f"the best {min(values):.3f}")
    print("seconds of choosing: " + ", ".join(f"{k} {v:.2f}" for k, v in choosing.items()))


if __name__ == "__main__":
    main()
