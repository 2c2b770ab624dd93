"""Measures what docs/benchmarks/pricing.md compares predictions with, on an NVIDIA GPU with fp8.

Two GPTs in PyTorch (torch.compile, AdamW fused, untied head, 16384 tokens a step): the step in bf16
and with fp8 (tensorwise current scaling, power-of-two scales) in some linear layers, the kernel time
by kind, attention alone, and the GEMMs alone.

    python3 tests/bench/measure_gpt_steps.py
"""
import collections

import torch
import torch.nn as nn
import torch.nn.functional as F

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
VOCABULARY, LAYERS, TOKENS = 50304, 12, 16384
NETWORKS = ((768, 12, 1024), (2048, 16, 2048))  # width, heads, T
CASES = ((), ("qkv", "proj", "fc1", "fc2"), ("fc1", "fc2"), ("qkv", "fc1", "fc2"))


def cast(x, dtype, largest):
    amax = x.abs().amax().float().clamp(min=1e-12)
    scale = torch.exp2(torch.floor(torch.log2(largest / amax)))
    return (x.float() * scale).clamp(-largest, largest).to(dtype), 1.0 / scale


def multiply(a, a_scale, b, b_scale, fast):
    return torch._scaled_mm(a, b.t(), scale_a=a_scale, scale_b=b_scale,
                            out_dtype=torch.bfloat16, use_fast_accum=fast)


class Fp8Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        x8, x_scale = cast(x.reshape(-1, x.shape[-1]), E4M3, 448.0)
        w8, w_scale = cast(weight, E4M3, 448.0)
        ctx.save_for_backward(x8, x_scale, w8, w_scale)
        ctx.shape = x.shape
        y = multiply(x8, x_scale, w8, w_scale, True)
        return y.reshape(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx, grad):
        x8, x_scale, w8, w_scale = ctx.saved_tensors
        g8, g_scale = cast(grad.reshape(-1, grad.shape[-1]).contiguous(), E5M2, 57344.0)
        grad_x = multiply(g8, g_scale, w8.t().contiguous(), w_scale, False)
        grad_w = multiply(g8.t().contiguous(), g_scale, x8.t().contiguous(), x_scale, False)
        return grad_x.reshape(ctx.shape), grad_w.float()


class Linear(nn.Linear):
    fp8 = False

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x):
        return Fp8Linear.apply(x, self.weight) if self.fp8 else F.linear(x, self.weight)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = Linear(width, 3 * width), Linear(width, width)
        self.fc1, self.fc2 = Linear(width, 4 * width), Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        packed = self.qkv(self.ln1(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.embed, self.position = nn.Embedding(VOCABULARY, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(LAYERS)])
        self.ln_f, self.head = nn.LayerNorm(width), Linear(width, VOCABULARY)

    def forward(self, ids, targets):
        x = self.embed(ids) + self.position.weight
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.ln_f(x)).float().view(-1, VOCABULARY)
        return F.cross_entropy(logits, targets.view(-1))


def median_ms(run, repeats, warm_up):
    for _ in range(warm_up):
        run()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    events[0].record()
    for event in events[1:]:
        run()
        event.record()
    torch.cuda.synchronize()
    return sorted(a.elapsed_time(b) for a, b in zip(events, events[1:]))[repeats // 2]


def kind_of(kernel):
    kernel = kernel.lower()
    if any(word in kernel for word in ("flash", "fmha", "cudnn")):
        return "attention"
    if any(word in kernel for word in ("nvjet", "gemm", "cutlass", "xmma")):
        return "GEMMs"
    return "optimizer" if "multi_tensor" in kernel else "everything else"


def kernel_ms(step, repeats):
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(repeats):
            step()
        torch.cuda.synchronize()
    total = collections.Counter()
    for event in profile.key_averages():
        total[kind_of(event.key)] += event.self_device_time_total / 1e3 / repeats
    return total


def measure_steps(width, heads, length):
    for fp8 in CASES:
        torch.manual_seed(0)
        torch._dynamo.reset()
        model = Gpt(width, heads, length).cuda()
        for name, layer in model.named_modules():
            if isinstance(layer, Linear):
                layer.fp8 = name.split(".")[-1] in fp8
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        compiled = torch.compile(model)
        shape = (TOKENS // length, length)
        ids = torch.randint(0, VOCABULARY, shape, device="cuda")
        targets = torch.randint(0, VOCABULARY, shape, device="cuda")

        def step():
            with torch.autocast("cuda", torch.bfloat16):
                loss = compiled(ids, targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        print(f"width {width}, fp8 in {fp8}: {median_ms(step, 15, 5):.2f} ms", flush=True)
        for kind, ms in kernel_ms(step, 3).most_common():
            print(f"    {kind:16} {ms:8.3f} ms", flush=True)


def measure_attention(width, heads, length):
    shape = (TOKENS // length, heads, length, width // heads)
    q, k, v = (torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=True)
               for _ in range(3))
    grad = torch.randn_like(q)

    def forward():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    ms = median_ms(lambda: torch.autograd.grad(forward(), (q, k, v), grad), 20, 5)
    operations = 7 * TOKENS * length * width  # two products forward, five backward, causal
    print(f"attention, width {width}, {heads} heads, T {length}: {ms:.3f} ms, "
          f"{operations / ms / 1e9:.0f} TFLOP/s", flush=True)


def graphed_us(run, repeats=20):
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            run()
    return 1e3 * median_ms(graph.replay, 7, 2) / repeats


def measure_gemm(m, n, k, mixed):
    a = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(n, k, device="cuda", dtype=torch.bfloat16)
    one = torch.ones((), device="cuda")
    a8, b8 = a.to(E5M2 if mixed else E4M3), b.to(E4M3)
    return (graphed_us(lambda: a @ b.t()),
            graphed_us(lambda: multiply(a8, one, b8, one, not mixed)))


def measure_gemms(width):
    shapes = {"qkv": (3 * width, width), "proj": (width, width), "fc1": (4 * width, width),
              "fc2": (width, 4 * width), "head": (VOCABULARY, width)}
    for name, (out, inputs) in shapes.items():
        times = [measure_gemm(TOKENS, out, inputs, False), measure_gemm(TOKENS, inputs, out, True),
                 measure_gemm(out, inputs, TOKENS, True)]
        print(f"width {width}, {name}, fprop dgrad wgrad, bf16/fp8 us: " +
              " ".join(f"{bf16:.1f}/{fp8:.1f}" for bf16, fp8 in times), flush=True)


def main():
    torch.backends.cuda.matmul.allow_tf32 = True
    print(torch.cuda.get_device_name(), "PyTorch", torch.__version__)
    for network in NETWORKS + ((2048, 32, 2048),):
        measure_attention(*network)
    for width, _, _ in NETWORKS:
        measure_gemms(width)
    for network in NETWORKS:
        measure_steps(*network)


if __name__ == "__main__":
    main()
