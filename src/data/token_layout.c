/* What a token file is by its first bytes: numpy's .npy, llm.c's, ids alone; or no file of ids. */
#include "base/error.h"
#include "data/source.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int token_bytes(id_type type) {
  return 1 << type % 4;
}

/* `dtype` says how ids without a header are written; of others the header does. */
static mpt_status check_type(const data_spec *spec, const char *path, id_type type,
                             mpt_error *error) {
  if (spec->dtype == ID_NOT_GIVEN || spec->dtype == type)
    return MPT_OK;
  return mpt_fail_at(error, MPT_ERROR_ARGUMENT, path, 0, 0,
                     "its header says %s, and the workload's dtype is %s; leave that out",
                     id_type_name(type), id_type_name(spec->dtype));
}

/* ---- llm.c: 256 numbers of 32 bits before the ids: what it is, a version, the count of ids ----
 */

enum { LLMC_HEADER = 1024 };

static uint32_t word(const uint8_t *bytes, int index) {
  const uint8_t *b = bytes + 4 * (size_t)index;
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static const struct llmc_kind {
  uint32_t magic, version;
  id_type type;
  const char *other; /* no ids to train on */
} llmc_kinds[] = {
    {20240520, 1, ID_UINT16, NULL},
    {20240801, 7, ID_UINT32, NULL},
    {20240522, 0, ID_NOT_GIVEN, "questions with answers to choose from, for an evaluation"},
    {20240326, 0, ID_NOT_GIVEN, "the weights of a model"},
    {20240328, 0, ID_NOT_GIVEN, "a tokenizer"},
};

static const struct llmc_kind *llmc_find(const uint8_t *head, int64_t length) {
  for (size_t i = 0; length >= 4 && i < sizeof llmc_kinds / sizeof *llmc_kinds; i++)
    if (word(head, 0) == llmc_kinds[i].magic)
      return &llmc_kinds[i];
  return NULL;
}

static mpt_status llmc_read(const data_spec *spec, const char *path, const struct llmc_kind *kind,
                            const uint8_t *head, int64_t length, token_layout *layout,
                            mpt_error *error) {
  if (kind->other != NULL)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                       "llm.c's header %u: %s, not a text to train on", kind->magic, kind->other);
  if (length < LLMC_HEADER)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                       "truncated in its header: llm.c's has %d bytes, and %lld are there",
                       LLMC_HEADER, (long long)length);
  if (word(head, 1) != kind->version)
    return mpt_fail_at(error, MPT_ERROR_VERSION, path, 0, 0,
                       "llm.c's header %u of version %u; version %u is read (%s)", kind->magic,
                       word(head, 1), kind->version, id_type_name(kind->type));
  *layout = (token_layout){.start = LLMC_HEADER, .type = kind->type, .count = word(head, 2)};
  return check_type(spec, path, layout->type, error);
}

/* ---- .npy (numpy.lib.format): magic, version, length of the header, a Python dictionary ---- */

static const char npy_magic[] = "\x93NUMPY";
enum { NPY_MAGIC = 6, MAX_TEXT = 1 << 16 };

static mpt_status npy_fail(const char *path, mpt_error *error, const char *what,
                           const char *remedy) {
  return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0, "a .npy file %s; %s", what, remedy);
}

/* Behind `'key':` and blanks; NULL where it is not. */
static const char *npy_value(const char *header, const char *key) {
  const char *at = strstr(header, key);
  if (at == NULL)
    return NULL;
  at += strlen(key);
  return at + strspn(at, " ");
}

/* "'<u2'": order of the bytes, kind, size. */
static mpt_status npy_type(const char *path, const char *text, token_layout *layout,
                           mpt_error *error) {
  static const char remedy[] = "save the ids as numpy.uint16 or numpy.uint32 (astype)";
  static const char sizes[] = "1248";
  const char *size = NULL;
  if (*text == '\'' && strchr("<>|=", text[1]) != NULL && strchr("ui", text[2]) != NULL &&
      text[3] != '\0' && text[4] == '\'')
    size = strchr(sizes, text[3]);
  if (size != NULL) {
    layout->type = (id_type)((text[2] == 'i' ? ID_INT8 : ID_UINT8) + (int)(size - sizes));
    layout->big_endian = text[1] == '>';
    return MPT_OK;
  }
  const int length = (int)strcspn(text + 1, "'\n");
  char what[80] = "of records, and ids are whole numbers";
  if (*text == '\'')
    snprintf(what, sizeof what, "of type %.*s, and ids are whole numbers",
             length < 16 ? length : 16, text + 1);
  return npy_fail(path, error, what, remedy);
}

/* "(2000,)" or "(20, 100)": the product, and how many. */
static bool npy_shape(const char *text, int64_t *count, int *rank) {
  *count = 1, *rank = 0;
  if (*text++ != '(')
    return false;
  for (;; text += strspn(text, ", ")) {
    if (*text == ')')
      return true;
    char *end;
    if (*text < '0' || *text > '9')
      return false;
    const long long size = strtoll(text, &end, 10);
    text = end + (*end == 'L'); /* of Python 2 */
    if (__builtin_mul_overflow(*count, size, count))
      return false;
    ++*rank;
  }
}

static mpt_status npy_header(const char *path, const char *text, token_layout *layout,
                             mpt_error *error) {
  static const char again[] = "save the ids again with numpy.save";
  const char *type = npy_value(text, "'descr':"), *order = npy_value(text, "'fortran_order':");
  const char *shape = npy_value(text, "'shape':");
  int rank = 0;
  if (type == NULL || order == NULL || shape == NULL || !npy_shape(shape, &layout->count, &rank))
    return npy_fail(path, error, "whose header is not understood", again);
  MPT_RETURN_IF_FAILED(npy_type(path, type, layout, error));
  if (rank == 0)
    return npy_fail(path, error, "of a single number", "an array of ids is read");
  if (rank > 1 && strncmp(order, "False", 5) != 0)
    return npy_fail(path, error, "in Fortran's order", "save numpy.ascontiguousarray of the ids");
  return MPT_OK;
}

static mpt_status npy_read(const data_spec *spec, const char *path, const uint8_t *head,
                           int64_t length, token_layout *layout, mpt_error *error) {
  static const char fetch[] = "write it again, or fetch it again";
  const int version = length > NPY_MAGIC ? head[NPY_MAGIC] : 0;
  const int prefix = version == 1 ? 10 : 12;
  if (length < prefix)
    return npy_fail(path, error, "that is truncated in its header", fetch);
  if (version < 1 || version > 3)
    return npy_fail(path, error, "of a version that is not known (1 to 3 are)",
                    "save the ids again with numpy.save");
  const int64_t size = version == 1 ? head[8] | head[9] << 8 : (int64_t)word(head + 8, 0);
  if (size >= MAX_TEXT)
    return npy_fail(path, error, "whose header is not understood",
                    "save the ids again with numpy.save");
  if (length < prefix + size)
    return npy_fail(path, error, "that is truncated in its header", fetch);
  char *text = strndup((const char *)head + prefix, (size_t)size);
  if (text == NULL)
    return mpt_fail_memory(error, path, (size_t)size);
  *layout = (token_layout){.start = prefix + size};
  mpt_status status = npy_header(path, text, layout, error);
  free(text);
  return status == MPT_OK ? check_type(spec, path, layout->type, error) : status;
}

/* ---- files of other kinds ---- */

/* A zip's first entry has a method, and a name in letters: .npz, or PyTorch's. */
static bool is_zip(const uint8_t *head, int64_t length) {
  if (length < 31 || memcmp(head, "PK\3\4", 4) != 0 || (head[8] != 0 && head[8] != 8))
    return false;
  const int name = head[26] | head[27] << 8;
  for (int i = 0; i < name && i < 8 && 30 + i < length; i++)
    if (head[30 + i] < ' ' || head[30 + i] > '~')
      return false;
  return name > 0;
}

static const struct {
  const char *bytes;
  int count;
  const char *what;
} signatures[] = {
    {"\x89HDF\r\n\x1a\n", 8, "an HDF5 file"},
    {"PAR1\x15", 5, "a Parquet file"},
    {"ARROW1\0\0", 8, "an Arrow file"},
};

static const char *other_kind(const uint8_t *head, int64_t length) {
  if (is_zip(head, length))
    return "a zip file (.npz, or PyTorch's)";
  for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++)
    if (length >= signatures[i].count &&
        memcmp(head, signatures[i].bytes, (size_t)signatures[i].count) == 0)
      return signatures[i].what;
  return NULL;
}

/* ---- ids without a header ---- */

enum { FEWEST_TO_GUESS = 64, MOST_TO_GUESS = 1 << 16 }; /* bytes */

static bool is_text(const uint8_t *head, int64_t length) {
  for (int64_t i = 0; i < length; i++)
    if (head[i] != '\t' && head[i] != '\n' && head[i] != '\r' && (head[i] < ' ' || head[i] > '~'))
      return false;
  return true;
}

/* The size that the ids seem to have: of wider ones the upper half is 0 throughout. */
static int seen_bytes(const uint8_t *head, int64_t length) {
  int64_t set[8] = {0};
  for (int64_t i = 0; i < length; i++)
    set[i % 8] += head[i] != 0;
  const bool wide = set[2] + set[3] + set[6] + set[7] == 0 && set[0] + set[1] + set[4] + set[5] > 0;
  return !wide ? 2 : set[4] + set[5] == 0 ? 8 : 4;
}

/* nanoGPT's 16 bits, unless the workload says otherwise; what they can hardly be is refused, and
 * `dtype` insists. */
static mpt_status guess_type(const char *path, const uint8_t *head, int64_t length,
                             mpt_error *error) {
  if (length < FEWEST_TO_GUESS)
    return MPT_OK;
  length = length < MOST_TO_GUESS ? length : MOST_TO_GUESS;
  if (is_text(head, length))
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                       "text, not ids: train on it with data of kind bytes, or write its ids as "
                       "numbers of 16 bits (numpy's tofile); 'dtype: uint16' if ids they are");
  const int bytes = seen_bytes(head, length);
  if (bytes == 2)
    return MPT_OK;
  return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                     "%s id of 16 bits is 0: these are ids of %d bits; say 'dtype: %s', or "
                     "'dtype: uint16' if not",
                     bytes == 4 ? "every second" : "all but every fourth", 8 * bytes,
                     bytes == 4 ? "uint32" : "int64");
}

mpt_status token_layout_find(const data_spec *spec, const char *path, const uint8_t *head,
                             int64_t length, token_layout *layout, mpt_error *error) {
  const struct llmc_kind *kind = llmc_find(head, length);
  if (kind != NULL)
    return llmc_read(spec, path, kind, head, length, layout, error);
  if (length >= NPY_MAGIC && memcmp(head, npy_magic, NPY_MAGIC) == 0)
    return npy_read(spec, path, head, length, layout, error);
  const char *other = other_kind(head, length);
  if (other != NULL)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, path, 0, 0,
                       "%s; save the ids alone (numpy.save, or tofile)", other);
  *layout = (token_layout){.type = spec->dtype, .count = -1};
  if (spec->dtype != ID_NOT_GIVEN)
    return MPT_OK;
  layout->type = ID_UINT16;
  return guess_type(path, head, length, error);
}
