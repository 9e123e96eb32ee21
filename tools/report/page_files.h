/* SPDX-License-Identifier: MIT
 *
 * The files of the page, embedded at build: tools/web/ and the chart library.
 */
#ifndef TWS_TOOLS_WEB_ASSETS_H
#define TWS_TOOLS_WEB_ASSETS_H

#include <stddef.h>

/* NAME, file. Each is web_NAME, of web_NAME_end - web_NAME bytes. */
#define WEB_ASSETS(ASSET)                                                                \
	ASSET(html, "tools/report/page/page.html")                                       \
	ASSET(css, "tools/report/page/page.css")                                         \
	ASSET(js, "tools/report/page/page.js")                                           \
	ASSET(charts, "tools/report/page/charts.js")                                     \
	ASSET(chart, TWSHIM_CHART)

#define ASSET(name, file) extern const char web_##name[], web_##name##_end[];
WEB_ASSETS(ASSET)
#undef ASSET

#endif
