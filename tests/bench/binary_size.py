#!/usr/bin/env python3
"""Where the GPU code of a build goes: by architecture, by file, by kernel.

    python3 tests/bench/binary_size.py BUILD [--kernels N] [--against OTHER]

BUILD is a folder that was built with CUDA: build/portable. Sizes are those of the code as cuobjdump
takes it out, before compression, but for the column that says otherwise. With --against: whether the
kernels of both builds are the same, by name and by the bytes of their machine code, on every
architecture; exits 1 where one is missing or differs. cuobjdump is part of the CUDA toolkit (or pip
install nvidia-cuda-cuobjdump); readelf and objcopy are of binutils.
"""
import argparse
import collections
import glob
import os
import re
import struct
import subprocess
import sys
import tempfile

LINES = (".nv_debug", ".debug_line", ".debug_str")


def objects_of(build):
    found = sorted(glob.glob(os.path.join(build, "CMakeFiles/mptune_cuda.dir/kernels/cuda/*.cu.o")))
    if not found:
        sys.exit(f"error: no kernels in {build}; it was built without CUDA")
    return found


def sections(path):
    """(name, bytes) of what a 64-bit ELF file has in sections that take room in it."""
    with open(path, "rb") as file:
        data = file.read()
    offset, = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, offset + i * size) for i in range(count)]
    table = headers[names]
    for name, kind, _, _, start, length in headers:
        end = data.index(b"\0", table[4] + name)
        if kind != 8:  # NOBITS
            yield data[table[4] + name:end].decode(), data[start:start + length]


def code_of(path):
    """{architecture: {part: bytes}} of an object file, and {(architecture, kernel): machine code}."""
    parts, kernels = collections.defaultdict(collections.Counter), {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["cuobjdump", "-xelf", "all", "-xptx", "all", os.path.abspath(path)], cwd=folder,
                       stdout=subprocess.DEVNULL, check=True)
        for name in os.listdir(folder):
            file = os.path.join(folder, name)
            if name.endswith(".ptx"):
                parts["PTX"]["rest"] += os.path.getsize(file)
                continue
            architecture = re.search(r"sm_\w+", name)[0]
            inside = 0
            for section, data in sections(file):
                part = ("code" if section.startswith(".text") else
                        "lines" if section.startswith(LINES) else "rest")
                parts[architecture][part] += len(data)
                inside += len(data)
                if section.startswith(".text."):
                    kernels[architecture, section[6:]] = data
            parts[architecture]["rest"] += os.path.getsize(file) - inside
    return parts, kernels


def packed_size(path):
    run = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True)
    found = re.search(r"\.nv_fatbin\s+PROGBITS\s+\w+\s+\w+\s+(\w+)", run.stdout)
    return int(found[1], 16) if found else 0


def plain_names(names):
    run = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return [re.sub(r"^void |\(.*$", "", line) for line in run.stdout.splitlines()]


def read_build(build):
    total, files, kernels = collections.defaultdict(collections.Counter), {}, {}
    for path in objects_of(build):
        name = os.path.basename(path)[:-2]
        parts, code = code_of(path)
        files[name] = (sum(sum(p.values()) for p in parts.values()), packed_size(path))
        for architecture, counts in parts.items():
            total[architecture].update(counts)
        kernels.update({(name, *key): data for key, data in code.items()})
    return total, files, kernels


def megabytes(n):
    return f"{n / 1e6:.2f}"


def print_tables(total, files, kernels, most):
    print("| architecture | machine code | lines for profilers | the rest | all |\n| --- | --- | --- | --- | --- |")
    for architecture, p in sorted(total.items()):
        print(f"| {architecture} | {megabytes(p['code'])} | {megabytes(p['lines'])} | "
              f"{megabytes(p['rest'])} | {megabytes(sum(p.values()))} |")
    everything = sum(sum(p.values()) for p in total.values())
    print(f"| all | | | | {megabytes(everything)} |\n\n| file | all | as stored |\n| --- | --- | --- |")
    for name, (size, packed) in sorted(files.items(), key=lambda f: -f[1][0]):
        print(f"| {name} | {megabytes(size)} | {megabytes(packed)} |")
    print(f"| all | {megabytes(sum(f[0] for f in files.values()))} | {megabytes(sum(f[1] for f in files.values()))} |")
    sums = collections.Counter()
    for (file, _, kernel), data in kernels.items():
        sums[file, kernel] += len(data)
    top = sums.most_common(most)
    print("\n| kernel | machine code, all architectures |\n| --- | --- |")
    for name, ((file, _), size) in zip(plain_names([k[1] for k, _ in top]), top):
        print(f"| `{name}` of {file} | {megabytes(size)} |")
    print(f"\n{len(sums)} kernels")


def compare(before, after):
    names = dict(zip(before, plain_names([key[2] for key in before])))
    wrong = 0
    for key in sorted(set(before) | set(after)):
        if before.get(key) == after.get(key):
            continue
        wrong += 1
        name = names.get(key, key[2])
        was, is_now = len(before.get(key, b"")), len(after.get(key, b""))
        print(f"{key[1]} {key[0]} {name}: {was} bytes, now {is_now}" + ("" if was != is_now else ", others"))
    same = len(set(before) & set(after)) - sum(before[k] != after[k] for k in set(before) & set(after))
    print(f"{same} kernels are the same, by name and machine code; {wrong} are not")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--kernels", type=int, default=12)
    parser.add_argument("--against", metavar="OTHER")
    options = parser.parse_args()
    total, files, kernels = read_build(options.build)
    print_tables(total, files, kernels, options.kernels)
    if options.against:
        print()
        return 1 if compare(read_build(options.against)[2], kernels) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
