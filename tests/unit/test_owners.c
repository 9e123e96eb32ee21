/* SPDX-License-Identifier: MIT
 *
 * Whether a TIME_WAIT socket without an owner looks outgoing: by listeners, by the range
 * that connect() uses, and otherwise by which end several of them have in common. And
 * which processes of other network namespaces are told of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/tcp.h>

#include "tests/unit/saved_segment.h"
#include "tools/model/owners.h"

#define TABLE_NS (300 * SAVED_SECOND)

static struct kernel_table table;

static void add(uint8_t state, uint16_t local, uint8_t host, uint16_t remote)
{
	struct kernel_socket socket = {
	    .cookie = table.count + 1,
	    .local = saved_ipv4(1, local),
	    .remote = saved_ipv4(host, remote),
	    .state = state,
	    .expires_ms = 1000,
	};

	if (state == TCP_LISTEN)
		socket.remote = (struct tws_address){.family = TWS_IPV4};
	assert_int_equal(kernel_table_add(&table, &socket), 0);
}

/* With the range 40,000 to 40,999, in which 40,500 is reserved. */
static struct owners group(struct model **ret_model)
{
	struct model_options options = {0};
	struct owners owners;

	*ret_model = model_new(&options);
	assert_non_null(*ret_model);
	kernel_ports_set(&(*ret_model)->ports, 40000, 40999, "40500");
	assert_int_equal(model_use_table(*ret_model, &table, 1, 1), 0);
	assert_int_equal(model_finish(*ret_model), 0);
	assert_int_equal(owners_group(&owners, *ret_model), 0);
	return owners;
}

static void assert_group(const struct owners *owners, size_t index, enum owners_kind kind,
			 uint16_t port, uint64_t count)
{
	const struct owners_group *one = &owners->groups[index];

	assert_true(index < owners->count);
	assert_int_equal(one->kind, kind);
	assert_int_equal(kind == OWNERS_INCOMING ? one->local_port : one->to.port, port);
	assert_int_equal(one->count, count);
}

static void finish(struct owners *owners, struct model *model)
{
	owners_free(owners);
	model_free(model);
	table = (struct kernel_table){0};
}

static void a_listener_and_the_range_tell_for_sure(void **state)
{
	struct model *model;
	struct owners owners;

	add(TCP_LISTEN, 80, 0, 0);
	add(TCP_LISTEN, 40100, 0, 0);
	for (uint16_t i = 0; i < 3; i++)
		add(TCP_TIME_WAIT, 40001 + i, 7, 443);
	for (uint16_t i = 0; i < 2; i++)
		add(TCP_TIME_WAIT, 80, 8, 50000 + i);
	add(TCP_TIME_WAIT, 40100, 9, 79);
	owners = group(&model);
	assert_int_equal(owners.count, 3);
	assert_group(&owners, 0, OWNERS_OUTGOING, 443, 3);
	assert_group(&owners, 1, OWNERS_INCOMING, 80, 2);
	assert_group(&owners, 2, OWNERS_INCOMING, 40100, 1);
	assert_int_equal(model->kernel.incoming, 3);
	assert_int_equal(model->kernel.unowned, 3);
	assert_true(owners.groups[1].has_listener && owners.groups[2].has_listener);
	finish(&owners, model);
}

static void ports_of_another_range_go_to_what_they_have_in_common(void **state)
{
	struct model *model;
	struct owners owners;

	for (uint16_t i = 0; i < 11; i++)
		add(TCP_TIME_WAIT, 33000 + 7 * i, 7, 8001);
	for (uint16_t i = 0; i < 5; i++) /* a server that is gone */
		add(TCP_TIME_WAIT, 8002, 8, 35000 + i);
	owners = group(&model);
	assert_int_equal(owners.count, 2);
	assert_group(&owners, 0, OWNERS_OUTGOING, 8001, 11);
	assert_group(&owners, 1, OWNERS_INCOMING, 8002, 5);
	assert_int_equal(model->kernel.incoming, 0);
	assert_int_equal(model->kernel.unowned, 16);
	finish(&owners, model);
}

static void of_one_the_lower_port_is_the_services(void **state)
{
	struct model *model;
	struct owners owners;

	add(TCP_TIME_WAIT, 9999, 7, 8001);
	add(TCP_TIME_WAIT, 8002, 8, 35000);
	add(TCP_TIME_WAIT, 40500, 9, 443); /* in the range, and reserved */
	owners = group(&model);
	assert_int_equal(owners.count, 3);
	assert_group(&owners, 0, OWNERS_OUTGOING, 8001, 1);
	assert_group(&owners, 1, OWNERS_OUTGOING, 443, 1);
	assert_group(&owners, 2, OWNERS_INCOMING, 8002, 1);
	finish(&owners, model);
}

static void take(struct model *model, uint32_t state, enum process_life life,
		 uint64_t age_seconds)
{
	static struct saved saved;
	struct segment segment;

	saved_init(&saved, "/opt/bin/elsewhere", NULL);
	saved.header.state = state;
	saved.header.folded_processes = 5;
	saved.header.heartbeat_ns = TABLE_NS - age_seconds * SAVED_SECOND;
	segment = saved_segment(&saved, life);
	assert_int_equal(model_take(&segment, model), 0);
}

static void
processes_of_another_network_namespace_are_those_of_the_last_minute(void **state)
{
	struct model_options options = {0};
	struct model *model = model_new(&options);

	(void)state;
	assert_non_null(model);
	assert_int_equal(model_use_table(model, &table, TABLE_NS, 2), 0);
	take(model, TWS_SEGMENT_TOTALS, PROCESS_DEAD, 59);
	take(model, TWS_SEGMENT_TOTALS, PROCESS_DEAD, 61);
	assert_int_equal(model->other_namespace, 5);
	take(model, TWS_SEGMENT_LIVE, PROCESS_DEAD, 0);
	assert_int_equal(model->other_namespace_alive, 0);
	take(model, TWS_SEGMENT_LIVE, PROCESS_ALIVE, 0);
	assert_int_equal(model->other_namespace, 7);
	assert_int_equal(model->other_namespace_alive, 1);
	model_free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_listener_and_the_range_tell_for_sure),
	    cmocka_unit_test(ports_of_another_range_go_to_what_they_have_in_common),
	    cmocka_unit_test(of_one_the_lower_port_is_the_services),
	    cmocka_unit_test(
		processes_of_another_network_namespace_are_those_of_the_last_minute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
