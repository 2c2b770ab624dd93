/* The networks whose policies are all trained (bench_enumerate), small enough for that: at most 256
 * policies each. The first three are those of bench_known_answers, on real data where it says so;
 * the others are made up, each to be hard in its own way. */
#ifndef NETWORKS_H
#define NETWORKS_H

#include "tests/bench/known_answers.h"

typedef struct table_case {
  const char *name;
  const char *device; /* a profile's name, or a file of tests/data */
  const char *text;   /* of the workload: its layers, data, loss, optimizer, steps, exclusions */
} table_case;

#define NO_TF32  "exclude: [tf32]\n"
#define TWO_LESS "exclude: [tf32, fp16]\n"
#define BITS8    "tests/data/bits8.yaml"
#define BITS     "synthetic-bits"

static const table_case table_cases[] = {
    {"headlin", BITS8, /* a linear path beside a deep one; pairs are quiet, references are not */
     "model:\n"
     "  layers:\n"
     "    - {name: fc1, kind: linear, features: 40, from: input}\n"
     "    - {name: t1, kind: tanh}\n"
     "    - {name: fc2, kind: linear, features: 40}\n"
     "    - {name: t2, kind: tanh}\n"
     "    - {name: fc3, kind: linear, features: 4, initial_scale: 0.05}\n"
     "    - {name: head, kind: linear, features: 4, from: input}\n"
     "    - {name: out, kind: residual, from: [head, fc3]}\n"
     "data: {kind: synthetic, samples: 3000, held_out: 1000, features: 32, targets: 4, noise: "
     "0.02, seed: 16}\n"
     "loss: mse\noptimizer: {kind: adam, learning_rate: 1.0e-02}\nschedule: {kind: cosine}\n"
     "batch: 64\nsteps: 200\n" NO_TF32},
    {"heavy", BITS8, /* outliers of 8192: fp16 overflows at the loss scale of today */
     "model:\n"
     "  layers:\n"
     "    - {name: fc1, kind: linear, features: 40}\n"
     "    - {name: n1, kind: layernorm}\n"
     "    - {name: a1, kind: relu}\n"
     "    - {name: fc2, kind: linear, features: 40}\n"
     "    - {name: a2, kind: relu}\n"
     "    - {name: fc3, kind: linear, features: 40}\n"
     "    - {name: a3, kind: gelu}\n"
     "    - {name: head, kind: linear, features: 4}\n"
     "data: {kind: synthetic, samples: 4000, held_out: 1500, features: 32, classes: 4, hidden: 6, "
     "scale_low: 0.01, outliers: 0.03, outlier_scale: 8192.0, seed: 17}\n"
     "loss: cross_entropy\noptimizer: {kind: adamw, learning_rate: 3.0e-03}\n"
     "schedule: {kind: cosine}\nbatch: 64\nsteps: 160\n" NO_TF32},
    {"smooth", BITS8, /* tolerates much, noisy targets */
     "model:\n"
     "  layers:\n"
     "    - {name: fc1, kind: linear, features: 40}\n"
     "    - {name: a1, kind: tanh}\n"
     "    - {name: fc2, kind: linear, features: 40}\n"
     "    - {name: a2, kind: sigmoid}\n"
     "    - {name: fc3, kind: linear, features: 40}\n"
     "    - {name: a3, kind: tanh}\n"
     "    - {name: head, kind: linear, features: 3}\n"
     "data: {kind: synthetic, samples: 3000, held_out: 1000, features: 24, targets: 3, hidden: 6, "
     "noise: 0.05, seed: 11}\n"
     "loss: mse\noptimizer: {kind: adam, learning_rate: 3.0e-03}\nschedule: {kind: cosine}\n"
     "batch: 64\nsteps: 160\n" NO_TF32},
    {"twins", BITS8, /* two layers that read the same outliers and are added */
     "model:\n"
     "  layers:\n"
     "    - {name: a, kind: linear, features: 40}\n"
     "    - {name: b, kind: linear, features: 40, from: input}\n"
     "    - {name: sum, kind: residual, from: [a, b]}\n"
     "    - {name: norm, kind: layernorm}\n"
     "    - {name: th, kind: tanh}\n"
     "    - {name: mid, kind: linear, features: 40}\n"
     "    - {name: re, kind: relu}\n"
     "    - {name: head, kind: linear, features: 4}\n"
     "data: {kind: synthetic, samples: 4000, held_out: 1500, features: 32, classes: 4, hidden: 6, "
     "outliers: 0.04, outlier_scale: 32768.0, seed: 15}\n"
     "loss: cross_entropy\noptimizer: {kind: adam, learning_rate: 3.0e-03}\n"
     "schedule: {kind: cosine}\nbatch: 64\nsteps: 160\n" NO_TF32},
    {"five", BITS, /* five layers of unlike widths, targets to be fitted closely */
     "model:\n"
     "  layers:\n"
     "    - {name: fc1, kind: linear, features: 64}\n"
     "    - {name: a1, kind: gelu}\n"
     "    - {name: fc2, kind: linear, features: 16}\n"
     "    - {name: a2, kind: tanh}\n"
     "    - {name: fc3, kind: linear, features: 48}\n"
     "    - {name: a3, kind: gelu}\n"
     "    - {name: fc4, kind: linear, features: 32}\n"
     "    - {name: a4, kind: tanh}\n"
     "    - {name: head, kind: linear, features: 4}\n"
     "data: {kind: synthetic, samples: 3000, held_out: 1000, features: 32, targets: 4, hidden: 5, "
     "seed: 21}\n"
     "loss: mse\noptimizer: {kind: adam, learning_rate: 3.0e-03}\nschedule: {kind: cosine}\n"
     "batch: 64\nsteps: 200\n" TWO_LESS},
    {"skips", BITS, /* a residual stream that two blocks write to */
     "model:\n"
     "  layers:\n"
     "    - {name: in, kind: linear, features: 32}\n"
     "    - {name: n1, kind: layernorm}\n"
     "    - {name: up1, kind: linear, features: 64}\n"
     "    - {name: g1, kind: gelu}\n"
     "    - {name: down1, kind: linear, features: 32}\n"
     "    - {name: r1, kind: residual, from: [in, down1]}\n"
     "    - {name: n2, kind: layernorm}\n"
     "    - {name: up2, kind: linear, features: 64}\n"
     "    - {name: g2, kind: gelu}\n"
     "    - {name: head, kind: linear, features: 8}\n"
     "data: {kind: synthetic, samples: 4000, held_out: 1500, features: 24, classes: 8, hidden: 6, "
     "seed: 22}\n"
     "loss: cross_entropy\noptimizer: {kind: adamw, learning_rate: 3.0e-03, weight_decay: 0.05}\n"
     "schedule: {kind: cosine}\nbatch: 64\nsteps: 160\n" TWO_LESS},
    {"images", BITS, /* convolutions */
     "model:\n"
     "  layers:\n"
     "    - {name: conv1, kind: conv2d, channels: 4, kernel: 3, padding: 1}\n"
     "    - {name: a1, kind: relu}\n"
     "    - {name: p1, kind: maxpool, kernel: 2}\n"
     "    - {name: conv2, kind: conv2d, channels: 8, kernel: 3, padding: 1}\n"
     "    - {name: a2, kind: relu}\n"
     "    - {name: p2, kind: maxpool, kernel: 2}\n"
     "    - {name: flat, kind: flatten}\n"
     "    - {name: fc, kind: linear, features: 32}\n"
     "    - {name: a3, kind: relu}\n"
     "    - {name: head, kind: linear, features: 5}\n"
     "data: {kind: synthetic, samples: 2500, held_out: 1000, shape: [3, 8, 8], classes: 5, hidden: "
     "6, seed: 23}\n"
     "loss: cross_entropy\noptimizer: {kind: adam, learning_rate: 3.0e-03}\n"
     "schedule: {kind: cosine}\nbatch: 16\nsteps: 120\n" NO_TF32},
    {"chain", BITS, /* a transformer's block over a chain of ids; embedding and attention pinned */
     "model: {preset: gpt, width: 32, blocks: 1, heads: 2}\n"
     "data: {kind: synthetic, samples: 6000, sequence: 16, vocabulary: 32, held_out: 64, seed: "
     "24}\n"
     "loss: cross_entropy\n"
     "optimizer: {kind: adamw, learning_rate: 4.0e-03, weight_decay: 0.1, clip: 1.0}\n"
     "schedule: {kind: cosine, warmup: 10}\nbatch: 8\nsteps: 160\n"
     "pins:\n  - {layers: [embed, blocks.0.attn.core], format: bf16}\n"
     "reference: bf16\nexclude: [fp32, tf32]\n"},
    {"tied", BITS, /* the head's weight is the embedding's */
     "model: {preset: gpt, width: 32, blocks: 1, heads: 2, tied: true}\n"
     "data: {kind: synthetic, samples: 6000, sequence: 16, vocabulary: 64, held_out: 64, seed: "
     "25}\n"
     "loss: cross_entropy\n"
     "optimizer: {kind: adamw, learning_rate: 4.0e-03, weight_decay: 0.1, clip: 1.0}\n"
     "schedule: {kind: cosine, warmup: 10}\nbatch: 8\nsteps: 160\n"
     "pins:\n  - {layers: [embed, blocks.0.attn.core], format: bf16}\n"
     "reference: bf16\nexclude: [fp32, tf32]\n"},
    {"quiet", BITS8, /* plain sgd, whose updates hide small gradients */
     "model:\n"
     "  layers:\n"
     "    - {name: fc1, kind: linear, features: 48}\n"
     "    - {name: a1, kind: tanh}\n"
     "    - {name: fc2, kind: linear, features: 48}\n"
     "    - {name: a2, kind: tanh}\n"
     "    - {name: fc3, kind: linear, features: 24}\n"
     "    - {name: a3, kind: tanh}\n"
     "    - {name: head, kind: linear, features: 6}\n"
     "data: {kind: synthetic, samples: 4000, held_out: 1500, features: 32, classes: 6, hidden: 5, "
     "seed: 26}\n"
     "loss: cross_entropy\noptimizer: {kind: sgd, learning_rate: 2.0e-01, momentum: 0.9}\n"
     "schedule: {kind: cosine}\nbatch: 64\nsteps: 200\n" NO_TF32},
    {"vanish", BITS8, /* a layernorm behind zeros: gradients of unlike size in one tensor */
     "model:\n"
     "  layers:\n"
     "    - {name: fc1, kind: linear, features: 40}\n"
     "    - {name: a1, kind: relu}\n"
     "    - {name: fc2, kind: linear, features: 40, bias: false}\n"
     "    - {name: n2, kind: layernorm, epsilon: 1.0e-10}\n"
     "    - {name: a2, kind: relu}\n"
     "    - {name: fc3, kind: linear, features: 40}\n"
     "    - {name: a3, kind: relu}\n"
     "    - {name: head, kind: linear, features: 5}\n"
     "data: {kind: synthetic, samples: 4000, held_out: 1500, features: 32, classes: 5, hidden: 6, "
     "blank: 0.02, outliers: 0.01, outlier_scale: 256.0, seed: 27}\n"
     "loss: cross_entropy\noptimizer: {kind: adam, learning_rate: 3.0e-03}\n"
     "schedule: {kind: cosine}\nbatch: 64\nsteps: 160\n" NO_TF32},
    {"products", BITS8, /* a format for each product of each layer */
     "model:\n"
     "  layers:\n"
     "    - {name: fc1, kind: linear, features: 48}\n"
     "    - {name: a1, kind: tanh}\n"
     "    - {name: fc2, kind: linear, features: 48}\n"
     "    - {name: a2, kind: tanh}\n"
     "    - {name: head, kind: linear, features: 4}\n"
     "data: {kind: synthetic, samples: 3000, held_out: 1000, features: 32, targets: 4, hidden: 6, "
     "seed: 28}\n"
     "loss: mse\noptimizer: {kind: adam, learning_rate: 3.0e-03}\nschedule: {kind: cosine}\n"
     "batch: 64\nsteps: 200\nreference: bf16\nper_gemm: true\nexclude: [fp32, tf32, fp16]\n"},
    {"wide-range", BITS, /* features of scales from 1 to 1000 at the first layer */
     "model:\n"
     "  layers:\n"
     "    - {name: fc1, kind: linear, features: 40}\n"
     "    - {name: a1, kind: tanh}\n"
     "    - {name: fc2, kind: linear, features: 56}\n"
     "    - {name: a2, kind: relu}\n"
     "    - {name: fc3, kind: linear, features: 24}\n"
     "    - {name: a3, kind: tanh}\n"
     "    - {name: head, kind: linear, features: 3}\n"
     "data: {kind: synthetic, samples: 3000, held_out: 1000, features: 40, targets: 3, hidden: 6, "
     "scale_low: 1.0, scale_high: 1000.0, seed: 29}\n"
     "loss: mse\noptimizer: {kind: adam, learning_rate: 3.0e-03}\nschedule: {kind: cosine}\n"
     "batch: 64\nsteps: 160\n" NO_TF32},
    {"long", BITS8, /* 400 steps to a loss near zero: damage that adds up */
     "model:\n"
     "  layers:\n"
     "    - {name: fc1, kind: linear, features: 32}\n"
     "    - {name: a1, kind: gelu}\n"
     "    - {name: fc2, kind: linear, features: 32}\n"
     "    - {name: a2, kind: gelu}\n"
     "    - {name: fc3, kind: linear, features: 32}\n"
     "    - {name: a3, kind: gelu}\n"
     "    - {name: head, kind: linear, features: 2}\n"
     "data: {kind: synthetic, samples: 3000, held_out: 1000, features: 16, targets: 2, hidden: 4, "
     "seed: 30}\n"
     "loss: mse\noptimizer: {kind: adam, learning_rate: 3.0e-03}\nschedule: {kind: cosine}\n"
     "batch: 32\nsteps: 400\n" NO_TF32},
};
#define TABLE_CASES ((int)(sizeof table_cases / sizeof table_cases[0]))

/* Networks that are too large for a table: what their policies would come to is drawn (world.h).
 * Only their layers and prices matter. */
#define HIDDEN(name, features)                                                                     \
  "    - {name: " name ", kind: linear, features: " features "}\n    - {name: " name               \
  "_act, kind: gelu}\n"
#define DRAWN_REST                                                                                 \
  "data: {kind: synthetic, samples: 512, held_out: 128, features: 48, targets: 8, hidden: 4, "     \
  "seed: 40}\nloss: mse\noptimizer: {kind: adam, learning_rate: 1.0e-03}\nbatch: 32\nsteps: 24\n"

static const table_case drawn_cases[] = {
    {"eight", BITS8, /* 3^8 policies */
     "model:\n  layers:\n" HIDDEN("fc1", "64") HIDDEN("fc2", "32") HIDDEN("fc3", "96")
         HIDDEN("fc4", "48") HIDDEN("fc5", "80") HIDDEN("fc6", "32") HIDDEN(
             "fc7", "64") "    - {name: head, kind: linear, features: 8}\n" DRAWN_REST TWO_LESS},
    {"twelve", BITS8, /* 2^12 policies: bf16 or fp8 */
     "model:\n  layers:\n" HIDDEN("fc1", "64") HIDDEN("fc2", "32") HIDDEN("fc3", "96")
         HIDDEN("fc4", "48") HIDDEN("fc5", "80") HIDDEN("fc6", "32") HIDDEN("fc7", "64")
             HIDDEN("fc8", "48") HIDDEN("fc9", "112") HIDDEN("fc10", "32")
                 HIDDEN("fc11", "64") "    - {name: head, kind: linear, features: 8}\n" DRAWN_REST
                                      "reference: bf16\nexclude: [fp32, tf32, fp16]\n"},
};
#define DRAWN_CASES ((int)(sizeof drawn_cases / sizeof drawn_cases[0]))

#endif
