"""PyTorch's times for what bench_operations.c measures: name, microseconds, the fastest tenth's slowest.

  OMP_NUM_THREADS=2 python bench_operations.py [threads]
"""
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
R = 301


def timed(name, f):
    times = []
    for _ in range(R):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    print(f"{name:34} {1e6 * sorted(times)[R // 10]:9.2f}")


def linear(m, k, n):
    x, w, b, g = torch.randn(m, k), torch.randn(n, k), torch.randn(n), torch.randn(m, n)
    timed(f"fprop {m} x {n} x {k}", lambda: F.linear(x, w, b))
    timed(f"dgrad {m} x {n} x {k}", lambda: g @ w)
    timed(f"wgrad {m} x {n} x {k}", lambda: g.t() @ x)
    timed(f"bias_backward {m} x {n}", lambda: g.sum(0))


def rows(r, c):
    x, g, gamma, beta = torch.randn(r, c), torch.randn(r, c), torch.randn(c), torch.randn(c)
    y, mean, rstd = torch.native_layer_norm(x, (c,), gamma, beta, 1e-5)
    timed("layernorm_forward", lambda: torch.native_layer_norm(x, (c,), gamma, beta, 1e-5))
    timed("layernorm_backward", lambda: torch.ops.aten.native_layer_norm_backward(
        g, x, (c,), mean, rstd, gamma, beta, (True, True, True)))
    timed("add", lambda: x + g)
    timed("accumulate_tensor", lambda: y.add_(x))
    timed("softmax_forward", lambda: torch.softmax(x, -1))
    timed("dropout", lambda: F.dropout(x, 0.1))


def activations(r, c):
    x, g = torch.randn(r, c), torch.randn(r, c)
    a = torch.ops.aten
    for name, f, b in (
        ("relu", torch.relu, lambda y: a.threshold_backward(g, y, 0)),
        ("sigmoid", torch.sigmoid, lambda y: a.sigmoid_backward(g, y)),
        ("tanh", torch.tanh, lambda y: a.tanh_backward(g, y)),
        ("gelu", lambda v: F.gelu(v, approximate="tanh"),
         lambda y: a.gelu_backward(g, x, approximate="tanh")),
    ):
        y = f(x)
        timed(f"{name} forward {r} x {c}", lambda: f(x))
        timed(f"{name} backward {r} x {c}", lambda: b(y))


def attention(b, t, c, heads):
    x = torch.randn(b, t, 3 * c, requires_grad=True)
    q, k, v = (s.view(b, t, heads, c // heads).transpose(1, 2) for s in x.split(c, 2))
    timed(f"attention forward {b}x{t}x{c}",
          lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    g = torch.randn_like(y)
    timed(f"attention backward {b}x{t}x{c}",
          lambda: torch.autograd.grad(y, (q, k, v), g, retain_graph=True))


def loss(r, n):
    x, labels = torch.randn(r, n, requires_grad=True), torch.zeros(r, dtype=torch.long)
    timed(f"cross_entropy {r} x {n}",
          lambda: torch.autograd.grad(F.cross_entropy(x, labels), x))


def embedding(r, length, vocabulary, c):
    ids = torch.randint(vocabulary, (r,))
    places = torch.arange(length).repeat(r // length)
    table, position = (torch.randn(n, c, requires_grad=True) for n in (vocabulary, length))
    forward = lambda: F.embedding(ids, table) + F.embedding(places, position)
    y = forward()
    g = torch.randn_like(y)
    timed("embedding_forward", forward)
    timed("embedding_backward",
          lambda: torch.autograd.grad(y, (table, position), g, retain_graph=True))


def optimizer(r, c):
    w = torch.randn(r, c, requires_grad=True)
    w.grad = torch.randn(r, c)
    timed(f"adam {r} x {c}", torch.optim.AdamW([w], lr=1e-3, fused=True).step)
    timed(f"sgd {r} x {c}", torch.optim.SGD([w], lr=1e-3, momentum=0.9, fused=True).step)
    timed(f"gradient_check {r} x {c}", lambda: torch.nn.utils.get_total_norm([w.grad]))


with torch.no_grad():
    print("# fashion-mlp")
    linear(128, 784, 512)
    linear(128, 512, 256)
    linear(128, 256, 10)
    activations(128, 512)
loss(128, 10)
optimizer(512, 784)
print("# text-gpt")
embedding(512, 64, 256, 64)
with torch.no_grad():
    rows(512, 64)
    linear(512, 64, 192)
    linear(512, 64, 64)
    linear(512, 64, 256)
    linear(512, 256, 64)
attention(8, 64, 64, 4)
with torch.no_grad():
    activations(512, 256)
loss(512, 256)
optimizer(256, 64)
print("# larger")
with torch.no_grad():
    linear(1024, 1024, 1024)
attention(2, 1024, 256, 4)
loss(2048, 4096)
