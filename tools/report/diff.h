/* SPDX-License-Identifier: MIT
 *
 * What has changed between two reports in JSON: connections, failures, TIME_WAIT and
 * findings, by application and destination.
 */
#ifndef TWS_TOOLS_REPORT_DIFF_H
#define TWS_TOOLS_REPORT_DIFF_H

#include <stdio.h>

#include "tools/base/json.h"

/* Reads a report that `report --json` or `run --json` wrote. A new reference; NULL, with
 * a reason of one line, if it is none. */
json_t *diff_read(const char *path, char *ret_error, size_t size);

/* One object, schema twshim.diff/1: {"schema","from","to","changes":[{"app","to","what",
 * "counter","old","new"}]}; a new or former finding has "id" and no counter. A new
 * reference, or NULL: out of memory. Pure. */
json_t *diff_reports(const json_t *before, const json_t *after);

/* Prints it for a person. */
void diff_print(FILE *out, const json_t *diff);

#endif
