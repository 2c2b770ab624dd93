/* By how much a policy is worse, as text, in the units of the budget: a percentage of the
 * reference's metric ("+1.196%"), or a difference ("-0.001857"). Tables, sentences and reports
 * write the same figure for the same number. */
#ifndef CHANGE_H
#define CHANGE_H

#include <stdbool.h>

#define CHANGE_SIZE 40

/* Rounded to the nearest; "-" where there is none. */
void change_text(bool relative, double change, char text[CHANGE_SIZE]);
/* Rounded outwards: what is printed as "at most" is never below the bound that was found, and a
 * budget that is named as enough passes. "-" where nothing bounds it. */
void change_lower_text(bool relative, double lower, char text[CHANGE_SIZE]);
void change_upper_text(bool relative, double upper, char text[CHANGE_SIZE]);

#endif
