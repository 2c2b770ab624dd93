/* Short names of policies that come from files, for tables and reports. */
#ifndef LABEL_H
#define LABEL_H

#include "store/store.h"
#include "tuner/tuner.h"

enum { LABEL_SIZE = 64 };

/* A path that is too long loses its front, whole folders where that is enough: "…/a.yaml"; nothing
 * is cut inside a character. Policies of different paths get different labels, by a number where
 * needed: "…/a.yaml (2)". labels[i] is that of policies[i]. */
void label_paths(const tuner_policy *policies, int count, char (*labels)[LABEL_SIZE]);

/* The same, of one path, with " (N)" after it unless N is 1. */
void label_path(const char *path, int number, char label[LABEL_SIZE]);

#define LABEL_CANDIDATE "candidate "

/* "candidate N" of the policy `hash`: what it is called in the store already; else with the first
 * number from `number` on that no other policy has, from a search under another budget, say. */
mpt_status label_candidate(store *s, const char *hash, int number, char label[LABEL_SIZE],
                           mpt_error *error);

#endif
