/* The price of a training step against measured ones: two GPTs under the policies of bench_gpt,
 * whose steps an H200 took on 2026-11-29. Nothing is fitted to these times.
 *   bench_pricing [PROFILE], in the folder of the project */
#include "../pricing_networks.h"

static const struct {
  const char *name;
  double measured[PRICING_CASES]; /* ms */
} networks[] = {
    {"gpt2-124m", {68.57, 29.76, 30.88, 26.17, 25.56, 26.95}},
    {"gpt-800m", {322.67, 145.28, 153.17, 110.01, 109.61, 110.22}},
};
enum { BF16 = 1 };

int main(int argc, char **argv) {
  mpt_error error = {0};
  profile *p;
  pricing_check(profile_load(argc > 1 ? argv[1] : "nvidia-h200", &p, &error), &error);
  printf("%-18s %8s %8s %8s %10s %9s %6s %9s %9s\n", "step, ms", "GEMMs", "copies", "passes",
         "predicted", "measured", "", "to bf16:", "measured");
  for (int n = 0; n < 2; n++) {
    pricing_network network = pricing_open(".", networks[n].name);
    const double *measured = networks[n].measured;
    const double bf16 = 1e3 * pricing_predict(&network, p, BF16).total;
    printf("%s\n", networks[n].name);
    for (int k = 0; k < PRICING_CASES; k++) {
      const cost_parts parts = pricing_predict(&network, p, k);
      const double total = 1e3 * parts.total;
      printf("  %-16s %8.2f %8.2f %8.2f %10.2f %9.2f %+5.1f%% %+9.2f %+9.2f\n", pricing_cases[k],
             1e3 * parts.gemms, 1e3 * parts.copies, 1e3 * parts.passes, total, measured[k],
             100 * (total / measured[k] - 1), total - bf16, measured[k] - measured[BF16]);
    }
    pricing_close(&network);
  }
  profile_free(p);
  return 0;
}
