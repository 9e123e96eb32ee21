/* SPDX-License-Identifier: MIT */
#ifndef TWS_TOOLS_CMD_POLICY_H
#define TWS_TOOLS_CMD_POLICY_H

/* `twshim policy ...`; argv[0] is "policy". The exit status. */
int cmd_policy(int argc, char **argv);

#endif
