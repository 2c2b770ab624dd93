#!/usr/bin/env python3
"""A program that mptune can evaluate, in Python's standard library: two linear layers, trained by SGD."""
import fnmatch, json, math, os, random, struct, time
policy, seed, first, until, length = (os.environ["MPTUNE_" + name] for name in "POLICY SEED START UNTIL STEPS".split())
shapes, cut = {"fc1": (16, 4), "fc2": (1, 16)}, {"fp32": 0, "tf32": 13, "bf16": 16}  # bits cut off fp32
def say(event, **members):  # a line of JSON, by one write
    with open(os.environ["MPTUNE_EVENTS"], "a") as events:
        events.write(json.dumps({"event": event, **members}) + "\n")
def formats(policy, name):  # of a layer's products, by the first rule that matches
    rule = next((r for r in policy.get("rules", []) if any(fnmatch.fnmatchcase(name, glob) for glob in r["layers"])), {})
    return {gemm: rule.get(gemm, rule.get("format", policy["default"])) for gemm in ("fprop", "dgrad", "wgrad")}
def rounded(x, bits):  # to the nearest, ties to even
    whole, half = struct.unpack("I", struct.pack("f", x))[0], (1 << bits) >> 1
    return struct.unpack("f", struct.pack("I", (whole + max(0, half - 1 + (whole >> bits & 1))) >> bits << bits))[0]
def product(a, b, name, gemm):  # [m, k] times [n, k], both rounded to the layer's format
    a, b = ([[rounded(x, cut[applied[name][gemm]]) for x in row] for row in matrix] for matrix in (a, b))
    return [[sum(map(float.__mul__, row, column)) for column in b] for row in a]
def forward(key, rows):  # a batch by its key, what the hidden layer makes of it, and the errors
    inputs = [[random.Random(f"{key} {i} {j}").gauss(0, 1) for j in range(4)] for i in range(rows)]
    hidden = [[max(0.0, x) for x in row] for row in product(inputs, weights["fc1"], "fc1", "fprop")]
    return inputs, hidden, [[y[0] - math.sin(sum(x))] for x, y in zip(inputs, product(hidden, weights["fc2"], "fc2", "fprop"))]
applied = {name: formats(json.load(open(policy)), name) for name in shapes}
say("hello", protocol=1, program="evaluator.py", capabilities=["time"], formats=list(cut))
say("layers", layers=[{"name": name, "kind": "linear", "shape": shape, "rows": 16} for name, shape in shapes.items()])
say("applied", layers=[{"name": name, **applied[name]} for name in shapes])
draw, seconds = random.Random(seed), []
weights = {name: [[draw.gauss(0, n ** -0.5) for _ in range(n)] for _ in range(m)] for name, (m, n) in shapes.items()}
for step in range(int(first), int(until)):
    began, (inputs, hidden, errors) = time.perf_counter(), forward(f"{seed} {step}", 16)  # every step has its batch
    back = [[g if h > 0 else 0.0 for g, h in zip(*rows)] for rows in zip(product(errors, zip(*weights["fc2"]), "fc2", "dgrad"), hidden)]
    for name, given, taken in ("fc2", errors, hidden), ("fc1", back, inputs):
        gradient, rate = product(zip(*given), zip(*taken), name, "wgrad"), 0.01 * (1 - step / int(length))
        weights[name] = [[w - rate * g for w, g in zip(*rows)] for rows in zip(weights[name], gradient)]
    seconds.append(time.perf_counter() - began)
    say("step", step=step, loss=sum(e[0] ** 2 for e in errors) / 16, seconds=seconds[-1])
if seconds:
    say("time", median=sorted(seconds)[len(seconds) // 2], steps=len(seconds))
if seconds and until == length:
    say("metric", name="loss", value=sum(e[0] ** 2 for e in forward("held out", 256)[2]) / 256, goal="min")
say("done")
