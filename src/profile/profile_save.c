/* Device profiles, written. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "profile/profile.h"
#include <math.h>
#include <string.h>

/* `key`, and prose in lines that fit, which reads back as one. */
static void add_prose(mpt_text *text, const char *key, const char *prose) {
  enum { LINE = 96 };
  size_t column = LINE;
  mpt_text_addf(text, "  %s: >-", key);
  for (const char *word = prose; *word != '\0';) {
    const size_t length = strcspn(word, " ");
    if (column + 1 + length > LINE) {
      mpt_text_add(text, "\n   ");
      column = 3;
    }
    mpt_text_add(text, " ");
    mpt_text_add_bytes(text, word, length);
    column += 1 + length;
    word += length + strspn(word + length, " ");
  }
  mpt_text_add(text, "\n");
}

static void add_quoted(mpt_text *text, const char *key, const char *value) {
  if (value[0] != '\0')
    mpt_text_addf(text, "%s: \"%s\"\n", key, value);
}

static void add_head(mpt_text *text, const profile *p) {
  mpt_text_addf(text,
                "# %s, measured by mptune bench. GEMM times are those of the kernels; casts and\n"
                "# transpositions are not in them: they are priced as passes over memory.\n"
                "schema: mptune/device@1\nname: %s\ndevice: \"%s\"\n",
                p->device, p->name, p->device);
  add_quoted(text, "compute_capability", p->compute_capability);
  add_quoted(text, "driver", p->driver);
  add_quoted(text, "cuda", p->cuda);
  add_quoted(text, "cublaslt", p->cublaslt);
  add_quoted(text, "measured", p->measured);
}

static void add_provenance(mpt_text *text, const profile_provenance *from) {
  const struct {
    const char *key, *prose;
  } entries[] = {{"gemm", from->gemm},
                 {"step_factors", from->factors},
                 {"copy_bandwidth", from->copy},
                 {"pass_floor", from->floor},
                 {"passes", from->passes},
                 {"attention", from->attention},
                 {"conditions", from->conditions},
                 {"warning", from->warning}};
  mpt_text_add(text, "provenance:\n");
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
    if (entries[i].prose[0] != '\0')
      add_prose(text, entries[i].key, entries[i].prose);
}

static void add_figures(mpt_text *text, const profile *p) {
  const char *between = "";
  mpt_text_add(text, "formats: [");
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    if ((p->formats & 1u << f) != 0) {
      mpt_text_addf(text, "%s%s", between, mpt_format_get((mpt_format)f)->name);
      between = ", ";
    }
  mpt_text_addf(text, "]\ncopy_bandwidth: %.3e\npass_floor: %.2e\n", p->copy_bandwidth,
                p->pass_floor);
}

static void add_microseconds(mpt_text *text, double seconds) {
  mpt_text_addf(text, ", %.*f", seconds < 1e-5 ? 3 : 2, 1e6 * seconds);
}

static void add_passes(mpt_text *text, const profile *p) {
  if (p->pass_count > 0)
    mpt_text_add(text, "passes: # [pass, bits of an element read, bytes, microseconds]\n");
  for (int i = 0; i < p->pass_count; i++) {
    const pass_row *row = &p->passes[i];
    mpt_text_addf(text, "  - [%s, %d, %.0f", pass_kind_name(row->kind), row->bits, row->bytes);
    add_microseconds(text, row->seconds);
    mpt_text_add(text, "]\n");
  }
}

static void add_attention(mpt_text *text, const profile *p) {
  if (p->attention_count > 0)
    mpt_text_addf(text,
                  "attention: # [format, channels of a head, tokens of a sequence, forward, "
                  "backward], microseconds\n  # of %d tokens of width %d, causal\n",
                  ATTENTION_TOKENS, ATTENTION_WIDTH);
  for (int i = 0; i < p->attention_count; i++) {
    const attention_row *row = &p->attention[i];
    mpt_text_addf(text, "  - [%s, %lld, %lld", mpt_format_get(row->format)->name,
                  (long long)row->channels, (long long)row->tokens);
    add_microseconds(text, row->forward);
    add_microseconds(text, row->backward);
    mpt_text_add(text, "]\n");
  }
}

static bool column_measured(const profile *p, int column) {
  for (int i = 0; i < p->gemm_count; i++)
    if (!isnan(p->gemm[i].seconds[column]))
      return true;
  return false;
}

/* Nothing where none was measured. */
static void add_factors(mpt_text *text, const profile *p) {
  static const char *const names[MPT_GEMM_COUNT] = {"fprop", "dgrad", "wgrad"};
  bool any = false;
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
      any = any || p->gemm_factors[g][c] > 0.0;
  if (!any)
    return;
  mpt_text_add(text, "  step_factors: # what a step's products take over the table's\n");
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const char *between = "";
    mpt_text_addf(text, "    %s: [", names[g]);
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++) {
      if (!column_measured(p, c))
        continue;
      if (p->gemm_factors[g][c] > 0.0)
        mpt_text_addf(text, "%s%.3f", between, p->gemm_factors[g][c]);
      else
        mpt_text_addf(text, "%snull", between);
      between = ", ";
    }
    mpt_text_add(text, "]\n");
  }
}

static void add_table(mpt_text *text, const profile *p) {
  mpt_text_add(text, "gemm: # D[m,n] = A[m,k] B[n,k]^T\n  columns: [m, n, k");
  for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
    if (column_measured(p, c))
      mpt_text_addf(text, ", %s", gemm_column_name((gemm_column)c));
  mpt_text_add(text, "]\n");
  add_factors(text, p);
  mpt_text_add(text, "  microseconds:\n");
  for (int i = 0; i < p->gemm_count; i++) {
    const gemm_row *row = &p->gemm[i];
    mpt_text_addf(text, "    - [%lld, %lld, %lld", (long long)row->m, (long long)row->n,
                  (long long)row->k);
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
      if (isnan(row->seconds[c]) && column_measured(p, c))
        mpt_text_add(text, ", null");
      else if (column_measured(p, c))
        add_microseconds(text, row->seconds[c]);
    mpt_text_add(text, "]\n");
  }
}

mpt_status profile_save(const profile *p, const profile_provenance *provenance, const char *path,
                        mpt_error *error) {
  mpt_text text = {0};
  add_head(&text, p);
  add_provenance(&text, provenance);
  add_figures(&text, p);
  add_passes(&text, p);
  add_attention(&text, p);
  add_table(&text, p);
  mpt_status status = text.failed ? mpt_fail_memory(error, path, text.length)
                                  : mpt_file_write(path, text.data, text.length, error);
  mpt_text_free(&text);
  return status;
}
