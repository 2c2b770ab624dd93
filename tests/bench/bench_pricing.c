/* The price of a training step against measured ones.
 *
 * Two GPTs (AdamW, untied head, vocabulary 50304, 16384 tokens a step) were measured on an H200
 * through PyTorch 2.11, bf16 compiled, and with fp8 (tensorwise current scaling) in some of their
 * linear layers. Twice, with two programs that implement the same formats: the first run includes
 * what the host adds between kernels. Nothing here is fitted to these times. */
#include "../pricing_networks.h"
#include <stdio.h>

static const struct {
  const char *name;
  int64_t width, heads, sequence, batch;
  double measured[2][4]; /* ms: bf16, all but the head, MLP, MLP and QKV */
} networks[] = {
    {"d=768, 12 layers, T=1024, batch 16",
     768,
     12,
     1024,
     16,
     {{35.3, 37.8, 36.2, 37.5}, {32.41, 34.93, 33.91, 34.59}}},
    {"d=2048, 12 layers, T=2048, batch 8",
     2048,
     16,
     2048,
     8,
     {{146.3, 128.5, 134.6, 127.7}, {138.27, 121.10, 128.30, 123.33}}},
};

int main(void) {
  mpt_error error;
  profile *p;
  if (profile_load("nvidia-h200", &p, &error) != MPT_OK) {
    fprintf(stderr, "error: %s\n", error.message);
    return 1;
  }
  printf("%-40s %8s %8s %8s %8s | %8s %8s | %8s %8s %8s\n", "step, ms", "GEMMs", "copies", "passes",
         "total", "measured", "again", "to bf16:", "measured", "again");
  for (int n = 0; n < 2; n++) {
    printf("%s\n", networks[n].name);
    graph *g =
        pricing_gpt(networks[n].width, networks[n].heads, networks[n].sequence, networks[n].batch);
    double bf16 = 0.0;
    for (int k = 0; k < PRICING_CASES; k++) {
      const cost_parts parts = pricing_predict(g, p, k);
      const double total = 1e3 * parts.total, *first = networks[n].measured[0],
                   *again = networks[n].measured[1];
      bf16 = k == 0 ? total : bf16;
      printf("  %-38s %8.2f %8.2f %8.2f %8.2f | %8.2f %8.2f | %+8.2f %+8.2f %+8.2f\n",
             pricing_cases[k], 1e3 * parts.gemms, 1e3 * parts.copies, 1e3 * parts.passes, total,
             first[k], again[k], total - bf16, first[k] - first[0], again[k] - again[0]);
    }
    graph_free(g);
  }
  profile_free(p);
  return 0;
}
