#!/usr/bin/env python3
"""Whether one build's kernels take longer than another's, and whether it starts later.

    python3 tests/bench/compare_builds.py BEFORE AFTER [--rounds N] [--only bench_layers,...]

BEFORE and AFTER are folders of programs: bench_statistics, bench_layers, bench_training, bench_lite,
bench_attention, and mptune for the start. Rounds run each program of both builds, one right behind
the other, the one first that was second in the round before; their times are paired by round. Prints
for each kernel the ratio of its times, after to before, with the 95% interval of the mean over rounds,
and the geometric mean of all. The start is the time of whole commands: cold, the program's file
being out of the page cache, and warm. Exits 1 where a limit is passed: the geometric mean's, a kernel
whose interval lies wholly above its own, or that of the start.
"""
import argparse
import math
import os
import re
import statistics
import subprocess
import sys
import time

# How a line gives a kernel's name and times: a program, its arguments, and the pattern. Groups behind
# the first are times, called by the names beside it.
NUMBER = r"([\d.]+)"
PROGRAMS = (
    ("bench_statistics", (), rf"^(\S.*?)\s+{NUMBER}\s+{NUMBER}\s+[\d.]+\s+[\d.]+%$", (None, "")),
    ("bench_layers", ("bf16",), rf"^(\S.*?)\s+{NUMBER} us ", ("",)),
    ("bench_layers", ("fp32",), rf"^(\S.*?)\s+{NUMBER} us ", ("",)),
    ("bench_training", (), rf"^(\S.*?)\s+{NUMBER} ms ", ("",)),
    ("bench_lite", ("bf16",), rf"^(\S.*?)\s+\d+\s+{NUMBER}\s+{NUMBER}\s+[\d.]+%\s", ("", ", lite")),
    ("bench_lite", ("bf16",), rf"^(\S.*?)\s+\d+\s+{NUMBER}\s+[\d.]+%\s", (", apart",)),
    ("bench_attention", (), rf"^time (.*?)\s+{NUMBER} us ", ("",)),
)
# 97.5% quantiles of Student's t for 1, 2, ... degrees of freedom; beyond them the normal one is near.
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
     2.131, 2.120, 2.110, 2.101, 2.093)
STARTS = (("formats",), ("doctor",), ("train", "PLANTED", "--policy", "all-bf16", "--backend", "cuda", "-q"))


def times_of(folder, program, arguments):
    run = subprocess.run([os.path.join(folder, program), *arguments], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"error: {folder}/{program} ends with {run.returncode}: {run.stderr.strip()}")
    found = {}
    for name, for_arguments, pattern, columns in PROGRAMS:
        if (name, for_arguments) != (program, arguments):
            continue
        for line in run.stdout.splitlines():
            match = re.match(pattern, line)
            for column, text in zip(columns, match.groups()[1:] if match else ()):
                if column is None:
                    continue
                kernel = " ".join((program[6:], *arguments, *match[1].split())) + column
                while kernel in found:  # a program may print a name twice
                    kernel += "'"
                found[kernel] = float(text)
    if not found:
        sys.exit(f"error: {program} prints no times that are known here")
    return found


def seconds_of(folder, command, cold):
    program = os.path.join(folder, "mptune")
    planted = os.path.join(os.path.dirname(__file__), "../../profiles/workloads/planted.yaml")
    if cold:
        with open(program, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begun = time.monotonic()
    run = subprocess.run([program, *(planted if c == "PLANTED" else c for c in command)],
                         capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"error: mptune {' '.join(command)}: {run.stderr.strip()}")
    return time.monotonic() - begun


def paired(before, after, how):
    """Mean and half the 95% interval of how(before, after) over the rounds."""
    values = [how(b, a) for b, a in zip(before, after)]
    if len(values) < 2:
        return values[0], math.inf
    t = T[len(values) - 2] if len(values) - 2 < len(T) else 1.96
    return statistics.mean(values), t * statistics.stdev(values) / math.sqrt(len(values))


def run_rounds(options, measure):
    """{name: ([before], [after])} of measure(folder) over rounds, in turns."""
    results = {}
    for number in range(options.rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for which in order:
            for name, value in measure((options.before, options.after)[which]).items():
                results.setdefault(name, ([], []))[which].append(value)
    for name, (before, after) in results.items():
        if len(before) != options.rounds or len(after) != options.rounds:
            sys.exit(f"error: '{name}' is not in every run of both builds")
    return results


def compare_kernels(options):
    programs = dict.fromkeys((name, arguments) for name, arguments, _, _ in PROGRAMS
                             if not options.only or name in options.only.split(","))
    logs, failed = [], False
    print(f"{'kernel':<72} {'before':>9} {'after':>9}  ratio and its 95% interval", flush=True)
    for program, arguments in programs:
        results = run_rounds(options, lambda folder: times_of(folder, program, arguments))
        for name, (before, after) in results.items():
            mean, half = paired(before, after, lambda b, a: math.log(a / b))
            logs.append(mean)
            slower = mean - half > math.log(options.kernel_limit)
            failed |= slower
            print(f"{name:<72} {statistics.median(before):9.3f} {statistics.median(after):9.3f}  "
                  f"{math.exp(mean):.4f} [{math.exp(mean - half):.4f}, {math.exp(mean + half):.4f}]"
                  f"{' SLOWER' if slower else ''}", flush=True)
    overall = math.exp(statistics.mean(logs))
    print(f"{len(logs)} kernels, geometric mean {overall:.5f} (limit {options.mean_limit}); "
          f"{'some' if failed else 'none'} wholly above {options.kernel_limit}")
    return failed or overall > options.mean_limit


def compare_starts(options):
    failed = False
    for command in STARTS:
        for cold in (True, False):
            run_rounds(argparse.Namespace(**{**vars(options), "rounds": 1}),
                       lambda folder: {"": seconds_of(folder, command, False)})  # once for nothing
            before, after = run_rounds(options, lambda folder: {"": seconds_of(folder, command, cold)})[""]
            mean, half = paired(before, after, lambda b, a: 1e3 * (a - b))
            later = mean > options.start_limit
            failed |= later
            print(f"mptune {command[0]:<8} {'cold' if cold else 'warm'}: {1e3 * statistics.median(before):8.1f} ms, "
                  f"then {1e3 * statistics.median(after):8.1f} ms; later by {mean:+.1f} ms "
                  f"[{mean - half:+.1f}, {mean + half:+.1f}]{' LATER' if later else ''}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", help="programs, with commas between them; 'start' for the start alone")
    parser.add_argument("--mean-limit", type=float, default=1.003)
    parser.add_argument("--kernel-limit", type=float, default=1.01)
    parser.add_argument("--start-limit", type=float, default=50.0, help="milliseconds")
    options = parser.parse_args()
    failed = False
    if not options.only or "start" in options.only.split(","):
        failed |= compare_starts(options)
    if options.only != "start":
        failed |= compare_kernels(options)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
