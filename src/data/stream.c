/* A file of data read from front to back, plain or gzipped: its first bytes tell, not its name. */
#include "base/error.h"
#include "data/source.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { BUFFER = 1 << 18, MOST_AT_ONCE = 1 << 24 };

mpt_status stream_open(const char *path, stream_end end, int64_t most, const char *remedy,
                       data_stream *s, mpt_error *error) {
  struct stat about;
  errno = 0;
  gzFile file = gzopen(path, "rbe");
  if (file == NULL)
    return mpt_fail_at(error, MPT_ERROR_IO, path, 0, 0, "cannot read: %s",
                       errno != 0 ? strerror(errno) : "out of memory");
  gzbuffer(file, BUFFER);
  /* The size of a gzipped file says little: it is watched as it unpacks. */
  if (end == STREAM_WHOLE && stat(path, &about) == 0 && S_ISREG(about.st_mode) &&
      about.st_size > most && gzdirect(file)) {
    gzclose(file);
    return mpt_fail_at(error, MPT_ERROR_IO, path, 0, 0, "%lld bytes; at most %lld are read%s",
                       (long long)about.st_size, (long long)most, remedy);
  }
  *s = (data_stream){.path = path, .file = file, .end = end, .most = most, .remedy = remedy};
  return MPT_OK;
}

int64_t stream_read(data_stream *s, void *out, int64_t size) {
  int64_t got = 0, left = s->most - s->read + (s->end == STREAM_WHOLE);
  size = size < left ? size : left;
  while (got < size) {
    int64_t rest = size - got;
    int count =
        gzread(s->file, (char *)out + got, rest < MOST_AT_ONCE ? (unsigned)rest : MOST_AT_ONCE);
    if (count <= 0)
      break;
    got += count;
  }
  s->read += got;
  return got;
}

mpt_status stream_check(data_stream *s, mpt_error *error) {
  int code;
  const char *reason = gzerror(s->file, &code);
  if (s->read > s->most)
    return mpt_fail_at(error, MPT_ERROR_IO, s->path, 0, 0,
                       "unpacks to more than %lld bytes, the most that are read%s",
                       (long long)s->most, s->remedy);
  if (code == Z_OK)
    return MPT_OK;
  if (code == Z_BUF_ERROR)
    return mpt_fail_at(error, MPT_ERROR_IO, s->path, 0, 0,
                       "truncated: its gzip data ends in the middle; fetch the file again");
  return mpt_fail_at(error, MPT_ERROR_IO, s->path, 0, 0, "cannot read: %s; fetch the file again",
                     code == Z_ERRNO ? "input/output error, or not a file" : reason);
}

mpt_status stream_close(data_stream *s, mpt_status status, mpt_error *error) {
  int closed = gzclose(s->file);
  s->file = NULL;
  if (status == MPT_OK && closed != Z_OK)
    return mpt_fail_at(error, MPT_ERROR_IO, s->path, 0, 0,
                       "truncated or damaged at the end; fetch the file again");
  return status;
}
