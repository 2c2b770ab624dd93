"""PyTorch's times for what bench_training times: F.cross_entropy forward and backward on
[16384, 50304], the norm of all gradients, and fused AdamW, at the sizes of two GPTs."""
import statistics
import torch
import torch.nn.functional as F


def time_of(run, repeats=21):
    times = []
    for i in range(repeats + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


def report(name, ms, bytes_, rate):
    print(f"{name:44} {ms:9.3f} ms {bytes_ / 1e9:8.3f} GB {bytes_ / ms / 1e9:7.3f} TB/s "
          f"{100 * bytes_ / ms * 1e3 / rate:5.1f}%")


def shapes(width, length):
    yield 50304, width
    yield length, width
    for _ in range(12):
        yield from [(width,)] * 4
        for n, k in ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width)):
            yield n, k
            yield (n,)
    yield from [(width,)] * 2
    yield 50304, width


def bench_loss(rate, dtype):
    logits = torch.randn(16384, 50304, device="cuda", dtype=dtype, requires_grad=True)
    labels = torch.randint(50304, (16384,), device="cuda")

    def run(loss=F.cross_entropy):
        logits.grad = None
        loss(logits, labels).backward()

    bytes_ = 2 * logits.numel() * logits.element_size()
    report(f"F.cross_entropy {dtype}", time_of(run), bytes_, rate)
    compiled = torch.compile(F.cross_entropy)
    report(f"F.cross_entropy compiled {dtype}", time_of(lambda: run(compiled)), bytes_, rate)


def bench_steps(rate, width, length):
    parameters = [torch.nn.Parameter(0.02 * torch.randn(s, device="cuda")) for s in shapes(width, length)]
    for p in parameters:
        p.grad = 1e-3 * torch.randn_like(p)
    count = sum(p.numel() for p in parameters)
    grads = [p.grad for p in parameters]
    report(f"get_total_norm {count / 1e6:.1f}M",
           time_of(lambda: torch.nn.utils.get_total_norm(grads)), 4 * count, rate)
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    report(f"AdamW fused {count / 1e6:.1f}M", time_of(optimizer.step), 28 * count, rate)


def main():
    a, b = (torch.randn(1 << 28, device="cuda") for _ in range(2))
    rate = 2 * (1 << 30) / time_of(lambda: a.copy_(b)) * 1e3
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; copy {rate / 1e12:.3f} TB/s")
    del a, b
    for dtype in (torch.bfloat16, torch.float32):
        bench_loss(rate, dtype)
        torch.cuda.empty_cache()
    for width, length in ((768, 1024), (2048, 2048)):
        bench_steps(rate, width, length)


if __name__ == "__main__":
    main()
