/* SPDX-License-Identifier: MIT
 *
 * The cases of the experiments `ports` and `brownout`, which depend on the kernel: one
 * since 2026 has net.ipv4.ip_local_port_step_width, which is then tried too.
 */
#ifndef TWS_TOOLS_LAB_PORTS_H
#define TWS_TOOLS_LAB_PORTS_H

#include "tools/kernel/host.h"
#include "tools/lab/result.h"

#define LAB_STEP_WIDTH	  "ip_local_port_step_width"
#define LAB_NO_STEP_WIDTH "This kernel has no net.ipv4." LAB_STEP_WIDTH "."

#define LAB_BROWNOUT_CASES 3
#define LAB_PORTS_CASES	   40 /* at most */

/* Each writes the cases that this host's kernel can run, and returns their number. Pure.
 */
size_t lab_brownout_cases(const struct host *host,
			  struct lab_case ret_cases[LAB_BROWNOUT_CASES]);
size_t lab_ports_cases(const struct host *host,
		       struct lab_case ret_cases[LAB_PORTS_CASES]);

/* Each says the verdict, once all cases have run. */
void lab_brownout_judge(struct lab_result *result, const struct lab_case *cases,
			size_t count);
void lab_ports_judge(struct lab_result *result, const struct lab_case *cases,
		     size_t count);

#endif
