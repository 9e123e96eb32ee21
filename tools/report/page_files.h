/* SPDX-License-Identifier: MIT
 *
 * The files of the page and the chart library, embedded when twshim is built.
 */
#ifndef TWS_TOOLS_WEB_ASSETS_H
#define TWS_TOOLS_WEB_ASSETS_H

#include <stddef.h>

/* NAME, file. Its bytes are from web_NAME to web_NAME_end. */
#define WEB_ASSETS(ASSET)                                                                \
	ASSET(html, "tools/report/page/page.html")                                       \
	ASSET(css, "tools/report/page/page.css")                                         \
	ASSET(js, "tools/report/page/page.js")                                           \
	ASSET(lists, "tools/report/page/lists.js")                                       \
	ASSET(charts, "tools/report/page/charts.js")                                     \
	ASSET(chart, TWSHIM_CHART)

#define ASSET(name, file) extern const char web_##name[], web_##name##_end[];
WEB_ASSETS(ASSET)
#undef ASSET

#endif
