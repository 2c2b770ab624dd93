/* A file of data read from front to back, plain or gzipped: its first bytes tell, not its name. */
#include "base/error.h"
#include "data/source.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BUFFER = 1 << 18, MOST_AT_ONCE = 1 << 24 };

/* zlib takes the first two bytes for the whole of it, and the first id of a token file may be
 * 35615: the method and the flags must be there too. What is no regular file is left to zlib. */
static bool is_plain(int file, const struct stat *about) {
  uint8_t head[4] = {0};
  if (!S_ISREG(about->st_mode))
    return false;
  return pread(file, head, sizeof head, 0) < 4 || head[0] != 0x1f || head[1] != 0x8b ||
         head[2] != 8 || head[3] >= 0x20;
}

static mpt_status fail_open(const char *path, int code, mpt_error *error) {
  return mpt_fail_at(error, MPT_ERROR_IO, path, 0, 0, "cannot read: %s",
                     code != 0 ? strerror(code) : "out of memory");
}

mpt_status stream_open(const char *path, stream_end end, int64_t most, const char *remedy,
                       data_stream *s, mpt_error *error) {
  struct stat about;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return fail_open(path, errno, error);
  if (fstat(file, &about) != 0)
    about.st_mode = 0; /* reading says what is wrong */
  *s = (data_stream){.path = path, .plain = file, .end = end, .most = most, .remedy = remedy};
  if (is_plain(file, &about)) {
    /* The size of a gzipped file says little: it is watched as it unpacks. */
    if (end == STREAM_PART || about.st_size <= most)
      return MPT_OK;
    close(file);
    return mpt_fail_at(error, MPT_ERROR_IO, path, 0, 0, "%lld bytes; at most %lld are read%s",
                       (long long)about.st_size, (long long)most, remedy);
  }
  errno = 0;
  s->file = gzdopen(file, "rb");
  if (s->file == NULL) {
    const int code = errno;
    close(file);
    return fail_open(path, code, error);
  }
  gzbuffer(s->file, BUFFER);
  return MPT_OK;
}

/* As gzread: how many bytes, 0 at the end, -1 after a failure. */
static int read_some(data_stream *s, void *out, unsigned size) {
  if (s->file != NULL)
    return gzread(s->file, out, size);
  ssize_t count;
  do
    count = read(s->plain, out, size);
  while (count < 0 && errno == EINTR);
  s->failure = count < 0 ? errno : 0;
  return (int)count;
}

int64_t stream_read(data_stream *s, void *out, int64_t size) {
  int64_t got = 0, left = s->most - s->read + (s->end == STREAM_WHOLE);
  size = size < left ? size : left;
  while (got < size) {
    int64_t rest = size - got;
    int count =
        read_some(s, (char *)out + got, rest < MOST_AT_ONCE ? (unsigned)rest : MOST_AT_ONCE);
    if (count <= 0)
      break;
    got += count;
  }
  s->read += got;
  return got;
}

mpt_status stream_check(data_stream *s, mpt_error *error) {
  int code = Z_OK;
  const char *reason = s->file != NULL ? gzerror(s->file, &code) : "";
  const char *behind = strstr(reason, ">: "); /* it begins with "<fd:3>: " */
  reason = behind != NULL ? behind + strlen(">: ") : reason;
  if (s->read > s->most)
    return mpt_fail_at(error, MPT_ERROR_IO, s->path, 0, 0,
                       "unpacks to more than %lld bytes, the most that are read%s",
                       (long long)s->most, s->remedy);
  if (s->failure != 0)
    return fail_open(s->path, s->failure, error);
  if (code == Z_OK)
    return MPT_OK;
  if (code == Z_BUF_ERROR)
    return mpt_fail_at(error, MPT_ERROR_IO, s->path, 0, 0,
                       "truncated: its gzip data ends in the middle; fetch the file again");
  return mpt_fail_at(error, MPT_ERROR_IO, s->path, 0, 0, "cannot read: %s; fetch the file again",
                     code == Z_ERRNO ? "input/output error, or not a file" : reason);
}

mpt_status stream_close(data_stream *s, mpt_status status, mpt_error *error) {
  int closed = s->file != NULL ? gzclose(s->file) : close(s->plain) == 0 ? Z_OK : Z_ERRNO;
  s->file = NULL;
  if (status == MPT_OK && closed != Z_OK)
    return mpt_fail_at(error, MPT_ERROR_IO, s->path, 0, 0,
                       "truncated or damaged at the end; fetch the file again");
  return status;
}
