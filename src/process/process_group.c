#include "process/process_group.h"
#include "base/number.h"
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct process_entry {
  pid_t pid, group, session;
  char state; /* as in proc(5): R, S, Z, ... */
} process_entry;

/* "PID (COMMAND) STATE PARENT GROUP SESSION ...", where the command may hold anything. */
static bool read_entry(int directory, const char *name, process_entry *entry) {
  char path[40], text[512];
  int64_t pid = 0;
  if (!isdigit((unsigned char)name[0]) || !mpt_integer_read(name, strlen(name), &pid))
    return false;
  snprintf(path, sizeof path, "%.20s/stat", name);
  const int file = openat(directory, path, O_RDONLY | O_CLOEXEC);
  if (file < 0) /* it has ended since */
    return false;
  const ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0)
    return false;
  text[length] = '\0';
  const char *at = strrchr(text, ')');
  if (at == NULL || at[1] != ' ' || at[2] == '\0' || at[3] != ' ')
    return false;
  int64_t numbers[3]; /* parent, group, session */
  entry->state = at[2];
  at += 4;
  for (int i = 0; i < 3; i++) {
    const size_t digits = strcspn(at, " ");
    if (at[digits] != ' ' || !mpt_integer_read(at, digits, &numbers[i]))
      return false;
    at += digits + 1;
  }
  entry->pid = (pid_t)pid;
  entry->group = (pid_t)numbers[1];
  entry->session = (pid_t)numbers[2];
  return true;
}

/* Counts the members beside the leader; sends `signal` to those of other groups where it is not 0.
 */
static int look(pid_t leader, int signal) {
  DIR *processes = opendir("/proc");
  int count = 0;
  if (processes == NULL)
    return 0;
  const struct dirent *each;
  while ((each = readdir(processes)) != NULL) {
    process_entry entry;
    if (!read_entry(dirfd(processes), each->d_name, &entry) || entry.session != leader ||
        entry.pid == leader || entry.state == 'Z' || entry.state == 'X')
      continue;
    count++;
    if (signal != 0 && entry.group != leader)
      kill(entry.pid, signal);
  }
  closedir(processes);
  return count;
}

void process_group_signal(pid_t leader, int signal) {
  kill(-leader, signal);
  look(leader, signal);
}

int process_group_count(pid_t leader) {
  return look(leader, 0);
}
