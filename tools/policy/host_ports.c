/* SPDX-License-Identifier: MIT */
#include "tools/policy/host_ports.h"

#include <stdio.h>

#include "tools/policy/host_exe.h"

#define SLICE	   10000u
#define FIRST_PORT 1024u /* bind() to a lower port needs a privilege */

/* A rule or an arm, and the line of its text. */
struct place {
	const struct tws_action *action;
	const char *file;
	unsigned line; /* 0 means unknown */
};

static bool is_outside(const struct tws_action *action, const struct kernel_ports *ports)
{
	return action->flags & TWS_ACTION_PORT_RANGE && action->port_high &&
	       (action->port_high < ports->low || action->port_low > ports->high);
}

static void warn_of_range(const struct place *place, const struct kernel_ports *ports,
			  struct tws_complaints *complaints)
{
	struct tws_problem problem = {0};

	if (!is_outside(place->action, ports))
		return;
	tws_problem_what(&problem,
			 "port_range = \"%u-%u\" is outside of "
			 "net.ipv4.ip_local_port_range, %u-%u",
			 place->action->port_low, place->action->port_high, ports->low,
			 ports->high);
	tws_problem_cure(&problem,
			 "the kernel ignores it in silence: name a part of that range");
	tws_complain(complaints, place->file, place->line, true, &problem);
}

/* How many ports of the ring connect() would choose from. */
static unsigned taken_by(const struct tws_action *action,
			 const struct kernel_ports *ports)
{
	uint32_t low = action->ring_high ? action->ring_low : ports->low;
	uint32_t high = action->ring_high ? action->ring_high : ports->high;
	unsigned ret = 0;

	if (!(action->flags & TWS_ACTION_PORT_RING))
		return 0;
	for (uint32_t port = low; port <= high; port++)
		ret += kernel_ports_hold(ports, (uint16_t)port);
	return ret;
}

/* A slice that connect() never chooses from. */
static void set_ring_cure(struct tws_problem *problem, const struct kernel_ports *ports)
{
	unsigned low = ports->low >= FIRST_PORT + SLICE	   ? ports->low - SLICE
		       : ports->high + SLICE <= UINT16_MAX ? ports->high + 1u
							   : 0;

	if (low)
		tws_problem_cure(problem,
				 "name a slice outside of it where nothing listens, as "
				 "\"%u-%u\", or one of "
				 "net.ipv4.ip_local_reserved_ports; try close = "
				 "\"fin-reset\" first, which needs no ring",
				 low, low + SLICE - 1);
	else
		tws_problem_cure(problem,
				 "put a slice of it into "
				 "net.ipv4.ip_local_reserved_ports and name that; try "
				 "close = \"fin-reset\" first, which needs no ring");
}

/* The kernel never chooses a port that was bound explicitly, also in TIME_WAIT, and
 * not even for other destinations. */
static void warn_of_ring(const struct place *place, const struct kernel_ports *ports,
			 struct tws_complaints *complaints)
{
	unsigned taken = taken_by(place->action, ports);
	struct tws_problem problem = {0};
	char range[16] = "full";

	if (!taken)
		return;
	if (place->action->ring_high)
		snprintf(range, sizeof(range), "%u-%u", place->action->ring_low,
			 place->action->ring_high);
	tws_problem_what(
	    &problem,
	    "port_ring = \"%s\" takes %u of the %u ports of "
	    "net.ipv4.ip_local_port_range: while it has one, and for 60 s of "
	    "TIME_WAIT, no other connect() in this network namespace gets "
	    "it, to any destination",
	    range, taken, ports->count);
	set_ring_cure(&problem, ports);
	tws_complain(complaints, place->file, place->line, true, &problem);
}

static void warn(const struct place *place, const struct kernel_ports *ports,
		 struct tws_complaints *complaints)
{
	warn_of_range(place, ports, complaints);
	warn_of_ring(place, ports, complaints);
}

void tws_policy_warn_of_ports(const struct tws_policy_image *image,
			      const struct tws_source *source,
			      const struct kernel_ports *ports,
			      struct tws_complaints *complaints)
{
	const struct tws_rule *rules = tws_policy_at(image, image->rules.offset);
	const struct tws_list *list = &image->experiment.arms;
	const struct tws_policy_arm *arms = tws_policy_at(image, list->offset);
	struct place place;

	if (!ports->high)
		return;
	for (uint32_t i = 0; i < image->rules.count; i++) {
		place = (struct place){.action = &rules[i].action,
				       .file = tws_source_of_rule(source, i),
				       .line = rules[i].line};
		warn(&place, ports, complaints);
	}
	for (uint32_t i = 0; i < list->count; i++) {
		place = (struct place){.action = &arms[i].action,
				       .file = tws_source_of_experiment(source),
				       .line = complaints->arm_line[i]};
		warn(&place, ports, complaints);
	}
}

void tws_policy_warn_of_host(const struct tws_policy_image *image,
			     const struct tws_source *source,
			     struct tws_complaints *complaints)
{
	struct kernel_ports ports;

	kernel_ports_read(&ports);
	tws_policy_warn_of_ports(image, source, &ports, complaints);
	host_exe_warn(image, source, complaints);
}
