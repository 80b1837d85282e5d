/* cli/vendors.h - the folder in which the program's OpenCL loader finds Penstock. */
#ifndef PEN_CLI_VENDORS_H
#define PEN_CLI_VENDORS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"

/* The folder's path. Usually one that came with Penstock; made in the helper's temporary directory when other vendors
 * are kept (those of the folder or file `outer`, NULL: the system's) or PENSTOCK_ICD_PATH names another library; then a
 * janitor is started if there is no helper yet. */
int pen_vendors_folder(bool keep, const char *outer, struct pen_helper *helper, char *out_path, size_t size,
                       struct pen_error *error);

#endif
