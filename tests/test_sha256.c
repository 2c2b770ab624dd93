/* SHA-256 against the published vectors, and in pieces of every size. */
#include "base/sha256.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void published_vectors(void **state) {
  (void)state;
  static const struct {
    const char *text, *hex;
  } vectors[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
  };
  char hex[65];
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    mpt_sha256_hex(vectors[i].text, strlen(vectors[i].text), hex);
    assert_string_equal(hex, vectors[i].hex);
  }
  char *million = malloc(1000000);
  memset(million, 'a', 1000000);
  mpt_sha256_hex(million, 1000000, hex);
  assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  free(million);
}

static void pieces_give_the_hash_of_the_whole(void **state) {
  (void)state;
  uint8_t bytes[200];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(i * 37);
  for (size_t length = 0; length <= sizeof bytes; length++) {
    char whole[65], pieces[65];
    mpt_sha256_hex(bytes, length, whole);
    for (size_t size = 1; size <= length; size += 13) {
      mpt_sha256 hash;
      mpt_sha256_begin(&hash);
      for (size_t i = 0; i < length; i += size)
        mpt_sha256_add(&hash, bytes + i, length - i < size ? length - i : size);
      mpt_sha256_end(&hash, pieces);
      assert_string_equal(whole, pieces);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(published_vectors),
      cmocka_unit_test(pieces_give_the_hash_of_the_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
