/* What results are told from: everything, to be read. */
#ifndef SEARCH_VIEW_H
#define SEARCH_VIEW_H

struct problem;
struct ledger;
struct model;

typedef struct search_view {
  const struct problem *problem;
  const struct ledger *ledger;
  const struct model *model;
} search_view;

#endif
