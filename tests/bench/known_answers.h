/* The three networks of bench_known_answers: 4 layers each, small enough that all 256 policies of
 * 4 formats can be trained. */
#ifndef KNOWN_ANSWERS_H
#define KNOWN_ANSWERS_H

#define KNOWN_BUDGETS 3

/* The text of a workload, without its name, budget, exclusions and target; and budgets, as shares
 * of the reference's metric. */
static const struct {
  const char *name;
  double budgets[KNOWN_BUDGETS];
  const char *text;
} known_networks[] = {
    {"cells",
     {0.01, 0.02, 0.05}, /* real data; every layer tolerates much */
     "model: {preset: mlp, widths: [64, 64, 32], outputs: 2}\n"
     "data: {kind: csv, package: python3-sklearn,\n"
     "  file: usr/lib/python3/dist-packages/sklearn/datasets/data/breast_cancer.csv,\n"
     "  header: true, label: \"30\", classes: 2, standardize: true, held_out: 228}\n"
     "loss: cross_entropy\n"
     "optimizer: {kind: adam, learning_rate: 1.0e-03}\n"
     "batch: 32\n"
     "steps: 100\n"},
    {"clothes",
     {0.03, 0.05, 0.10}, /* real data; the first layer is most of the time */
     "model: {preset: mlp, widths: [48, 48, 48], outputs: 10}\n"
     "data: {kind: idx, package: dataset-fashion-mnist,\n"
     "  images: usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz,\n"
     "  labels: usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz,\n"
     "  classes: 10, samples: 8000, held_out: 2000}\n"
     "loss: cross_entropy\n"
     "optimizer: {kind: adam, learning_rate: 2.0e-03}\n"
     "schedule: {kind: cosine}\n"
     "batch: 64\n"
     "steps: 150\n"},
    {"uneven",
     {0.01, 0.02,
      0.05}, /* made up: outliers at the first layer, a large third, targets to fit closely */
     "model:\n"
     "  layers:\n"
     "    - {name: fc1, kind: linear, features: 48}\n"
     "    - {name: norm1, kind: layernorm}\n"
     "    - {name: act1, kind: tanh}\n"
     "    - {name: fc2, kind: linear, features: 48}\n"
     "    - {name: act2, kind: relu}\n"
     "    - {name: up, kind: scale, output_scale: 65536.0}\n"
     "    - {name: fc3, kind: linear, features: 48}\n"
     "    - {name: down, kind: scale, output_scale: 1.52587890625e-05}\n"
     "    - {name: act3, kind: relu}\n"
     "    - {name: head, kind: linear, features: 4}\n"
     "data: {kind: synthetic, samples: 3000, held_out: 1000, features: 48, targets: 4, hidden: 6,\n"
     "  outliers: 0.02, outlier_scale: 4096.0, seed: 3}\n"
     "loss: mse\n"
     "optimizer: {kind: adam, learning_rate: 2.0e-03}\n"
     "schedule: {kind: cosine}\n"
     "batch: 64\n"
     "steps: 200\n"},
};
#define KNOWN_NETWORKS ((int)(sizeof known_networks / sizeof known_networks[0]))

#endif
