#!/usr/bin/env python3
"""Whether a GPU learns what the CPU learns: loss curves of both under the same policy and seed.

    python3 tests/bench/compare_losses.py --results curves
    python3 tests/bench/compare_losses.py --results curves --backends cpu     # on one machine,
    python3 tests/bench/compare_losses.py --results curves --backends cuda    # then on another

Every workload is trained under every policy and seed on each backend (mptune eval); what is in the
folder already is not trained again, so a run continues, and the folder can be carried from one
machine to the other.

A curve is cut into 20 windows, and its losses are averaged in each. In a window

    distance  the root mean square over seeds of GPU - CPU, the seed (initial weights and batches)
              being the same
    noise     the standard deviation over the CPU's seeds

The GPU is within the noise where the distance is at most that in every window. The first ratio is
the largest of the windows', at the steps that are named, the second that of the last window; drift is
the mean of GPU - CPU there over its standard error. A training that diverges must do so on both.
"""
import argparse
import array
import concurrent.futures
import math
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import time

WORKLOADS = ("breast-cancer", "fashion-cnn", "fashion-mlp", "planted", "text-gpt", "tiny-classifier")
REFERENCE = "all-fp32"  # of all of these workloads
DELAYED = "fp8-delayed.yaml"
POLICIES = (REFERENCE, "all-tf32", "all-bf16", "all-fp16", "all-fp8", DELAYED)
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


def run_of(options, workload, backend):
    return os.path.join(options.results, f"{workload}-{backend}")


def evaluate(options, workload, backend):
    """One run of all policies and seeds; what is in its directory already is not trained again."""
    path = os.path.join(options.results, workload + ".yaml")
    with open(path) as file:  # predicted times: none are measured for it
        target = re.search(r"^target: (\S+)", file.read(), re.M).group(1)
    command = [options.mptune, "eval", path, "--backend", backend, "--target", target, "-q",
               "--seeds", str(options.seeds), "-o", run_of(options, workload, backend)]
    for policy in options.policies:
        if policy != REFERENCE:  # it is evaluated anyway
            command += ["-p", os.path.join(options.results, DELAYED) if policy == DELAYED else policy]
    started = time.monotonic()
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{run.stderr}")
    print(f"{workload} on {backend}: {time.monotonic() - started:.1f} s", file=sys.stderr)


def make_runs(options):
    os.makedirs(options.results, exist_ok=True)
    with open(os.path.join(options.results, DELAYED), "w") as file:
        file.write(DELAYED_POLICY)
    for name in options.only:
        write_workload(name, options)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(evaluate, options, workload, backend)
                for backend in options.backends for workload in options.only]
        for run in runs:
            run.result()


def read_runs(options, workload, backend):
    """{(policy, seed): run}"""
    path = os.path.join(run_of(options, workload, backend), "run.sqlite")
    if not os.path.exists(path):
        return None
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = database.execute("SELECT p.label, e.seed, e.diverged, e.steps_done, e.metric, e.losses"
                            " FROM evaluations e JOIN policies p ON p.hash = e.policy")
    runs = {}
    for label, seed, diverged, steps, metric, losses in rows:
        policy = DELAYED if label.endswith(DELAYED) else label
        runs[policy, seed] = {"diverged": bool(diverged), "steps": steps, "metric": metric,
                              "losses": array.array("d", losses)}
    return runs


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
    metric = statistics.fmean(b["metric"] - a["metric"] for a, b in pairs)
    metric_noise = statistics.stdev(a["metric"] for a, _ in pairs)
    steps = pairs[0][0]["steps"]
    row = (f"{widest_distance:.2e}", f"{widest_noise:.2e}", f"{max(ratios):.3f}",
           f"{steps * widest_window // WINDOWS + 1}-{steps * (widest_window + 1) // WINDOWS}",
           f"{distance:.2e}", f"{ratios[-1]:.3f}", f"{drift:+.1f}", f"{metric:+.1e}",
           f"{metric_noise:.1e}")
    return row, max(ratios) <= 1


def print_table(options):
    """Whether all agree, or None without curves of both."""
    head = ("workload", "policy", "distance", "noise", "ratio", "in steps", "end distance", "ratio",
            "drift", "held-out GPU - CPU", "noise", "verdict")
    lines, agree = ["| " + " | ".join(head) + " |\n|" + " --- |" * len(head)], True
    for workload in options.only:
        cpu, gpu = (read_runs(options, workload, backend) for backend in ("cpu", "cuda"))
        if cpu is None or gpu is None:
            return None
        for policy in options.policies:
            seeds = range(1, options.seeds + 1)
            row, same = compare([(cpu[policy, seed], gpu[policy, seed]) for seed in seeds])
            agree = agree and same
            if isinstance(row, str):
                row = (row,) + ("",) * (len(head) - 4)
            name = policy.replace(".yaml", "")
            verdict = "within" if same else "**beyond**"
            lines.append("| " + " | ".join((workload, name) + row + (verdict,)) + " |")
    print("\n".join(lines))
    return agree


def words(text):
    return text.split(",") if text else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--mptune", default="build/release/mptune", help="the program")
    parser.add_argument("--workloads", default="profiles/workloads", help="where they are")
    parser.add_argument("--results", default="build/loss-curves", help="folder of the runs")
    parser.add_argument("--backends", type=words, default=["cpu", "cuda"],
                        help="where to train; '' compares what is there")
    parser.add_argument("--only", type=words, default=list(WORKLOADS), help="workloads")
    parser.add_argument("--policies", type=words, default=list(POLICIES))
    parser.add_argument("--seeds", type=int, default=8, help="how many, from 1 up")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--images", type=int, default=0, help="training images; 0: all")
    parser.add_argument("--held-out", type=int, default=0, help="held-out images; 0: the workload's")
    parser.add_argument("--bytes", type=int, default=0, help="bytes of text; 0: all")
    options = parser.parse_args()
    make_runs(options)
    agree = print_table(options)
    if agree is None:
        print(f"the other backend's curves are not in {options.results} yet", file=sys.stderr)
    return 1 if agree is False else 0


if __name__ == "__main__":
    sys.exit(main())
