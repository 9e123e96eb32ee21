/* SPDX-License-Identifier: MIT */
#include "tools/base/risk.h"

#include <stddef.h>

const char *risk_of_close(uint32_t close_mode)
{
	switch ((enum tws_close_mode)close_mode) {
	case TWS_CLOSE_FIN_RESET:
		return RISK_FIN_RESET "; " RISK_TRIAL;
	case TWS_CLOSE_RESET:
		return "all unsent and unacknowledged data is lost, and the server reads "
		       "ECONNRESET; if the reset is lost, the server waits for ever";
	case TWS_CLOSE_RESET_DRAINED:
		return "the server reads ECONNRESET after the data; if the reset is "
		       "lost, "
		       "the server waits for ever";
	case TWS_CLOSE_LINGER:
		return "close() blocks until data and FIN are acknowledged, and "
		       "TIME_WAIT "
		       "remains";
	default:
		return NULL;
	}
}
