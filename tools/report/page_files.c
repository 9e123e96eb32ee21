/* SPDX-License-Identifier: MIT
 *
 * The assembler includes the files unchanged. Make runs it in the root of the tree.
 */
#include "tools/report/page_files.h"

/* Where Debian's libjs-chart.js puts it. */
#ifndef TWSHIM_CHART
#define TWSHIM_CHART "/usr/share/javascript/chart.js/chart.min.js"
#endif

#define ASSET(name, file)                                                                \
	__asm__(".pushsection .rodata\n"                                                 \
		".global web_" #name "\n"                                                \
		"web_" #name ":\n"                                                       \
		".incbin \"" file "\"\n"                                                 \
		".global web_" #name "_end\n"                                            \
		"web_" #name "_end:\n"                                                   \
		".byte 0\n"                                                              \
		".popsection\n");
WEB_ASSETS(ASSET)
