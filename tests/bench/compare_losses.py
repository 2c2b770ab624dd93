#!/usr/bin/env python3
"""Whether a GPU learns what the CPU learns: loss curves of both under the same policy and seed.

    python3 tests/bench/compare_losses.py --results curves
    python3 tests/bench/compare_losses.py --results curves --backends cpu     # on one machine,
    python3 tests/bench/compare_losses.py --results curves --backends cuda    # then on another

Every workload is trained under every policy and seed on each backend; a run whose result lies in the
folder already is not made again, so the CPU's curves can be carried to the machine with the GPU.

A curve is cut into 20 windows, and its losses are averaged in each. In a window

    distance  the root mean square over seeds of GPU - CPU, the seed (initial weights and batches)
              being the same
    noise     the standard deviation over the CPU's seeds

The GPU agrees where the distance is at most the noise in every window. `widest` is the largest ratio
of the two and the steps where it is, `end` the ratio in the last window; `drift` is the mean of
GPU - CPU in the last window over its standard error: beyond 3 or so one of the two is biased. Of a
policy under which training diverges, both must diverge, in the same step under each seed.
"""
import argparse
import concurrent.futures
import json
import math
import os
import re
import statistics
import subprocess
import sys

WORKLOADS = ("breast-cancer", "fashion-cnn", "fashion-mlp", "planted", "text-gpt", "tiny-classifier")
DELAYED = "fp8-delayed"
POLICIES = ("all-fp32", "all-tf32", "all-bf16", "all-fp16", "all-fp8", DELAYED)
DELAYED_POLICY = """schema: mptune/policy@1
default: fp8
rules:
  - {layers: ["*"], format: fp8, scaling: {mode: delayed, history: 16, margin: 0}}
"""
WINDOWS = 20


def write_workload(name, options):
    """A copy of a shipped workload, of fewer samples where it reads files that are large."""
    with open(os.path.join(options.workloads, name + ".yaml")) as file:
        text = file.read()
    for kind, samples, held_out in (("idx", options.images, options.held_out),
                                    ("bytes", options.bytes, None)):
        if samples:
            text = text.replace(f"  kind: {kind}\n", f"  kind: {kind}\n  samples: {samples}\n")
            if held_out and f"  kind: {kind}\n" in text:
                text = re.sub(r"\n  held_out: \d+", "", text)
                text = text.replace(f"  kind: {kind}\n",
                                    f"  kind: {kind}\n  held_out: {held_out}\n")
    path = os.path.join(options.results, name + ".yaml")
    with open(path, "w") as file:
        file.write(text)
    return path


def path_of(options, backend, workload, policy, seed):
    return os.path.join(options.results, f"{workload}-{policy}-{seed}-{backend}.json")


def train(options, backend, workload, policy, seed):
    path = path_of(options, backend, workload, policy, seed)
    if os.path.exists(path):
        return
    word = os.path.join(options.results, DELAYED + ".yaml") if policy == DELAYED else policy
    command = [options.mptune, "train", os.path.join(options.results, workload + ".yaml"),
               "--backend", backend, "-p", word, "--seed", str(seed), "--json"]
    run = subprocess.run(command, capture_output=True, text=True)
    if not run.stdout.startswith("{"):  # a training that diverged has its curve as well
        raise SystemExit(f"{' '.join(command)}\n{run.stderr}")
    result = json.loads(run.stdout)
    kept = {key: result[key] for key in ("steps", "diverged", "metric", "skipped", "failure", "losses")}
    with open(path + ".part", "w") as file:
        json.dump(kept, file)
    os.rename(path + ".part", path)


def make_runs(options):
    os.makedirs(options.results, exist_ok=True)
    with open(os.path.join(options.results, DELAYED + ".yaml"), "w") as file:
        file.write(DELAYED_POLICY)
    for name in options.only:
        write_workload(name, options)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(train, options, backend, workload, policy, seed)
                for backend in options.backends for workload in options.only
                for policy in options.policies for seed in options.seeds]
        for done, run in enumerate(concurrent.futures.as_completed(runs), 1):
            run.result()
            print(f"\r{done} of {len(runs)} runs", end="", file=sys.stderr)
    print(file=sys.stderr)


def windows(losses):
    bounds = [len(losses) * i // WINDOWS for i in range(WINDOWS + 1)]
    return [statistics.fmean(losses[a:b]) for a, b in zip(bounds, bounds[1:])]


def compare_diverged(pairs):
    ends = [(cpu["steps"] if cpu["diverged"] else None, gpu["steps"] if gpu["diverged"] else None)
            for cpu, gpu in pairs]
    same = all(a == b for a, b in ends)
    text = ", ".join(str(a) if a == b else f"{a} and {b}" for a, b in ends)
    return f"diverge after steps {text} (CPU and GPU)", same


def compare(pairs):
    """(row of figures, whether they agree)"""
    if any(run["diverged"] for pair in pairs for run in pair):
        return compare_diverged(pairs)
    cpu = [windows(pair[0]["losses"]) for pair in pairs]
    gpu = [windows(pair[1]["losses"]) for pair in pairs]
    ratios, widest_distance = [], 0
    for w in range(WINDOWS):
        differences = [g[w] - c[w] for c, g in zip(cpu, gpu)]
        distance = math.sqrt(statistics.fmean(d * d for d in differences))
        noise = statistics.stdev(c[w] for c in cpu)
        ratios.append(distance / noise if noise > 0 else math.inf if distance > 0 else 0)
        if ratios[-1] == max(ratios):
            widest_distance, widest_noise, widest_window = distance, noise, w
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    drift = statistics.fmean(differences) / error if error > 0 else 0
    exact = sum(a["losses"] == b["losses"] for a, b in pairs)
    metric = statistics.fmean(b["metric"] - a["metric"] for a, b in pairs)
    metric_noise = statistics.stdev(a["metric"] for a, _ in pairs)
    steps = pairs[0][0]["steps"]
    row = (f"{widest_distance:.2e}", f"{widest_noise:.2e}", f"{max(ratios):.3f}",
           f"{steps * widest_window // WINDOWS + 1}-{steps * (widest_window + 1) // WINDOWS}",
           f"{distance:.2e}", f"{ratios[-1]:.3f}", f"{drift:+.1f}", f"{metric:+.1e}",
           f"{metric_noise:.1e}", f"{exact}/{len(pairs)}")
    return row, max(ratios) <= 1


def print_table(options):
    head = ("workload", "policy", "widest distance", "noise there", "widest", "steps", "end distance",
            "end", "drift", "held-out GPU-CPU", "its noise", "same bits", "agree")
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    agree = True
    for workload in options.only:
        for policy in options.policies:
            pairs = []
            for seed in options.seeds:
                pair = []
                for backend in ("cpu", "cuda"):
                    with open(path_of(options, backend, workload, policy, seed)) as file:
                        pair.append(json.load(file))
                pairs.append(pair)
            row, same = compare(pairs)
            agree = agree and same
            if isinstance(row, str):
                row = (row,) + ("",) * (len(head) - 4)
            print("| " + " | ".join((workload, policy) + row + ("yes" if same else "NO",)) + " |")
    return agree


def words(text):
    return text.split(",")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--mptune", default="build/release/mptune", help="the program")
    parser.add_argument("--workloads", default="profiles/workloads", help="where they are")
    parser.add_argument("--results", default="build/loss-curves", help="folder of the runs")
    parser.add_argument("--backends", type=words, default=["cpu", "cuda"])
    parser.add_argument("--only", type=words, default=list(WORKLOADS), help="workloads")
    parser.add_argument("--policies", type=words, default=list(POLICIES))
    parser.add_argument("--seeds", type=int, default=8, help="how many, from 1 up")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--images", type=int, default=0, help="training images; 0: all")
    parser.add_argument("--held-out", type=int, default=0, help="held-out images; 0: the workload's")
    parser.add_argument("--bytes", type=int, default=0, help="bytes of text; 0: all")
    options = parser.parse_args()
    options.seeds = range(1, options.seeds + 1)
    make_runs(options)
    missing = [b for b in ("cpu", "cuda") if not os.path.exists(
        path_of(options, b, options.only[-1], options.policies[-1], options.seeds[-1]))]
    if missing:
        print(f"no curves of the {missing[0]} backend in {options.results} yet", file=sys.stderr)
        return 0
    return 0 if print_table(options) else 1


if __name__ == "__main__":
    sys.exit(main())
