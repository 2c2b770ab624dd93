/* The processes of a session: those that a program has started, whatever groups they made. Private
 * to this room. */
#ifndef PROCESS_GROUP_H
#define PROCESS_GROUP_H

#include <sys/types.h>

/* The leader's id is the session's and its group's, and stays taken until the leader is reaped: no
 * other process can be meant by mistake. */
void process_group_signal(pid_t leader, int signal);

/* How many of them run beside the leader; those that have ended and wait to be reaped don't count.
 */
int process_group_count(pid_t leader);

#endif
