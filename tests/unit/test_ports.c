/* SPDX-License-Identifier: MIT
 *
 * The findings about local ports, from models made by hand: who holds them, whether they
 * are in TIME_WAIT, and which application gets the report.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "tools/advice/advice.h"
#include "tools/model/traffic.h"

#define LOW   40000
#define PORTS 1000u

enum { PYTHON, PERL, RUBY, APPS };

static const struct tws_address REDIS = {
    .bytes = {10, 0, 0, 7}, .port = 6379, .family = TWS_IPV4};

/* Three applications that connect to one destination, from one address. */
struct scene {
	struct model model;
	struct model_app apps[APPS];
	struct model_destination destinations[APPS];
	struct kernel_socket sockets[PORTS];
	struct model_owner owners[PORTS];
	uint32_t order[APPS];
	struct advice advice;
};

static void make(struct scene *scene, struct tws_address to)
{
	static const char *const names[] = {"python3.11", "perl", "ruby3.1"};

	*scene = (struct scene){
	    .model =
		{
		    .apps = scene->apps,
		    .app_count = APPS,
		    .order = scene->order,
		    .order_count = APPS,
		    .has_table = true,
		    .ports = {.low = LOW, .high = LOW + PORTS - 1, .count = PORTS},
		    .table = {.sockets = scene->sockets},
		    .owners = scene->owners,
		},
	};
	for (uint32_t i = 0; i < APPS; i++) {
		scene->order[i] = i;
		scene->apps[i].name = (char *)(uintptr_t)names[i];
		scene->apps[i].processes = 1;
		scene->apps[i].destinations = &scene->destinations[i];
		scene->apps[i].destination_count = 1;
		scene->destinations[i].address = to;
		scene->destinations[i].ports.range = PORTS;
	}
}

/* Sockets of an application, or of MODEL_NOBODY, that began `age` seconds ago. */
static void hold(struct scene *scene, uint32_t app, unsigned count, int state,
		 unsigned age)
{
	struct model *model = &scene->model;

	for (unsigned i = 0; i < count; i++) {
		scene->owners[model->table.count].app = app;
		scene->sockets[model->table.count] = (struct kernel_socket){
		    .local = {.bytes = {10, 0, 0, 1},
			      .port = (uint16_t)(LOW + model->table.count),
			      .family = TWS_IPV4},
		    .remote = scene->destinations[0].address,
		    .state = (uint8_t)state,
		    .expires_ms = state == TCP_TIME_WAIT ? (60 - age) * 1000 - 1 : 0,
		};
		model->table.count++;
	}
	if (app != MODEL_NOBODY && state == TCP_TIME_WAIT)
		scene->destinations[app].time_wait.confirmed += count;
	for (unsigned i = 0; i < APPS; i++)
		scene->destinations[i].ports.used += count;
}

/* As `twshim report` sees it. */
static void report(struct scene *scene)
{
	advice_free(&scene->advice);
	assert_int_equal(advice_of_model(&scene->advice, &scene->model), 0);
}

/* As `twshim doctor` does. */
static void diagnose(struct scene *scene)
{
	struct traffic traffic;

	advice_free(&scene->advice);
	assert_int_equal(traffic_study(&traffic, &scene->model, NULL), 0);
	assert_int_equal(
	    advice_of_host(&scene->advice, &scene->model, NULL, &traffic, NULL), 0);
	advice_sort(&scene->advice);
	traffic_free(&traffic);
}

/* How many findings of this id there are; the first one in `ret_first`. */
static unsigned count(const struct scene *scene, const char *id,
		      const struct advice_finding **ret_first)
{
	unsigned found = 0;

	for (size_t i = 0; i < scene->advice.count; i++)
		if (strcmp(scene->advice.findings[i].id, id) == 0 && !found++)
			*ret_first = &scene->advice.findings[i];
	return found;
}

static const struct advice_finding *the(const struct scene *scene, const char *id)
{
	const struct advice_finding *first = NULL;

	if (count(scene, id, &first) != 1)
		fail_msg("%u findings %s", count(scene, id, &first), id);
	return first;
}

static void says(const struct advice_finding *finding, const char *text)
{
	if (!strstr(finding->evidence, text) && !strstr(finding->advice, text))
		fail_msg("%s does not say \"%s\": %s: %s", finding->id, text,
			 finding->evidence, finding->advice);
}

static void says_not(const struct advice_finding *finding, const char *text)
{
	if (strstr(finding->evidence, text) || strstr(finding->advice, text))
		fail_msg("%s says \"%s\": %s: %s", finding->id, text, finding->evidence,
			 finding->advice);
}

static struct scene scene;

/* -------------------------------------------------------------------- who holds them */

static void the_largest_holder_is_named_where_nobody_has_the_majority(void **state)
{
	make(&scene, REDIS);
	hold(&scene, PERL, 300, TCP_TIME_WAIT, 1);
	hold(&scene, PYTHON, 310, TCP_TIME_WAIT, 1);
	hold(&scene, RUBY, 290, TCP_TIME_WAIT, 1);
	for (int i = 0; i < 2; i++) {
		i ? report(&scene) : diagnose(&scene);
		assert_string_equal(the(&scene, "TW103")->app, "python3.11");
		says(the(&scene, "TW103"), "TIME_WAIT sockets hold 900: 310 of "
					   "python3.11, 590 of others");
		says(the(&scene, "TW103"), "close=fin-reset");
	}
}

static void a_few_sockets_among_many_of_others_name_nobody(void **state)
{
	make(&scene, REDIS);
	hold(&scene, PERL, 7, TCP_TIME_WAIT, 1);
	hold(&scene, MODEL_NOBODY, 893, TCP_TIME_WAIT, 1);
	diagnose(&scene);
	assert_int_equal(count(&scene, "TW103", &(const struct advice_finding *){NULL}),
			 0);
	hold(&scene, PERL, 7, TCP_ESTABLISHED, 1);
	report(&scene);
	assert_int_equal(count(&scene, "TW103", &(const struct advice_finding *){NULL}),
			 APPS);
	for (size_t i = 0; i < scene.advice.count; i++)
		says_not(&scene.advice.findings[i], "open connections hold");
}

static void the_time_wait_of_others_is_time_wait(void **state)
{
	make(&scene, REDIS);
	scene.model.order_count = 1;
	hold(&scene, MODEL_NOBODY, 650, TCP_TIME_WAIT, 1);
	hold(&scene, PYTHON, 350, TCP_TIME_WAIT, 1);
	report(&scene);
	says(the(&scene, "TW103"), "TIME_WAIT sockets hold 1,000: 350 of "
				   "python3.11, 650 of others");
	says(the(&scene, "TW103"), "close=fin-reset");
	says_not(the(&scene, "TW103"), "open connections hold");
}

static void open_connections_are_called_open(void **state)
{
	make(&scene, REDIS);
	hold(&scene, PYTHON, 850, TCP_ESTABLISHED, 0);
	hold(&scene, PERL, 50, TCP_TIME_WAIT, 30);
	report(&scene);
	says(the(&scene, "TW103"), "open connections hold most of the ports");
	says_not(the(&scene, "TW103"), "fin-reset");
}

static void the_cure_for_running_out_gives_ports_back(void **state)
{
	make(&scene, REDIS);
	hold(&scene, PYTHON, 693, TCP_TIME_WAIT, 1);
	report(&scene);
	says(the(&scene, "TW103"), "693 of 1,000");
	says(the(&scene, "TW103"), "growing by 69 per second, they run out in 5 s");
	says(the(&scene, "TW103"), "close=fin-reset,to=10.0.0.7:6379");
	says(the(&scene, "TW103"), "port_range=full saves CPU but adds no ports");
	assert_int_equal(the(&scene, "TW103")->verdict, VERDICT_WARNING);

	make(&scene, REDIS); /* ten per second for a minute, then constant */
	for (unsigned age = 0; age < 60; age++)
		hold(&scene, PYTHON, 10, TCP_TIME_WAIT, age);
	report(&scene);
	says_not(the(&scene, "TW103"), "per second");
	says(the(&scene, "TW103"), "port_range=full,to=10.0.0.7:6379");
	says_not(the(&scene, "TW103"), "fin-reset");
}

static void a_list_of_reserved_ports_is_not_cured_by_a_wider_range(void **state)
{
	make(&scene, REDIS);
	hold(&scene, PYTHON, 900, TCP_TIME_WAIT, 1);
	report(&scene);
	says(the(&scene, "TW103"), "whole host, widen net.ipv4.ip_local_port_range");
	scene.model.ports.low = 20000;
	scene.model.ports.high = 59999;
	report(&scene);
	says(the(&scene, "TW103"),
	     "whole host, remove from net.ipv4.ip_local_reserved_ports what no server "
	     "needs: it withholds 39,000 of the range's 40,000 ports from connect()");
	says_not(the(&scene, "TW103"), "widen");
}

static void the_forecast_rises_and_falls(void **state)
{
	make(&scene, REDIS);
	hold(&scene, PYTHON, 640, TCP_TIME_WAIT, 30);
	hold(&scene, PYTHON, 25, TCP_TIME_WAIT, 1);
	report(&scene);
	says(the(&scene, "TW103"), "at 2.5 more per second, their number falls to 150");

	make(&scene, REDIS);
	hold(&scene, PYTHON, 500, TCP_ESTABLISHED, 0);
	hold(&scene, PYTHON, 50, TCP_TIME_WAIT, 1);
	report(&scene);
	says(the(&scene, "TW103"), "at 5.0 more per second, their number rises to 800");

	make(&scene, REDIS);
	hold(&scene, PYTHON, 850, TCP_ESTABLISHED, 0);
	report(&scene);
	says_not(the(&scene, "TW103"), "per second");
	says_not(the(&scene, "TW103"), "soon");
	says(the(&scene, "TW103"), "once the rest is in use");
}

/* ------------------------------------------------- whether they are taken from connect()
 */

static const struct tws_address HERE = {
    .bytes = {127, 0, 0, 1}, .port = 6379, .family = TWS_IPV4};

static void fill_with_time_wait(struct tws_address to, unsigned reuse)
{
	make(&scene, to);
	scene.model.time_wait_reuse = reuse;
	scene.model.order_count = 1;
	hold(&scene, PYTHON, 1000, TCP_TIME_WAIT, 5);
	scene.destinations[PYTHON].recent.ended = 1000;
}

/* The verdict on TW103 for both. */
static enum advice_verdict verdict_of_fill(void)
{
	const struct advice_finding *finding = NULL;
	enum advice_verdict reported = VERDICT_OK;

	report(&scene);
	if (count(&scene, "TW103", &finding))
		reported = finding->verdict;
	diagnose(&scene);
	finding = NULL;
	count(&scene, "TW103", &finding);
	assert_int_equal(finding ? finding->verdict : VERDICT_OK, reported);
	return reported;
}

static void time_wait_that_connect_takes_over_fills_nothing(void **state)
{
	static const struct {
		struct tws_address to;
		unsigned reuse;
		enum advice_verdict verdict;
	} rows[] = {
	    {REDIS, 0, VERDICT_PROBLEM}, {REDIS, 1, VERDICT_OK},
	    {REDIS, 2, VERDICT_PROBLEM}, {HERE, 0, VERDICT_PROBLEM},
	    {HERE, 1, VERDICT_OK},	 {HERE, 2, VERDICT_OK},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		fill_with_time_wait(rows[i].to, rows[i].reuse);
		if (verdict_of_fill() != rows[i].verdict)
			fail_msg("row %zu", i);
	}
}

static void what_is_open_is_taken_whatever_is_taken_over(void **state)
{
	make(&scene, REDIS);
	scene.model.time_wait_reuse = 1;
	hold(&scene, PYTHON, 850, TCP_ESTABLISHED, 0);
	hold(&scene, PYTHON, 150, TCP_TIME_WAIT, 5);
	report(&scene);
	says(the(&scene, "TW103"), "850 of 1,000");
	says(the(&scene, "TW103"), "850 are open");
}

static void ports_that_were_bound_are_not_taken_over(void **state)
{
	fill_with_time_wait(REDIS, 1);
	scene.destinations[PYTHON].recent.early_bind = 1000;
	scene.apps[PYTHON].recent.early_bind = 1000;
	scene.apps[PYTHON].counters.value[TWS_bound_before_connect] = 1000;
	assert_int_equal(verdict_of_fill(), VERDICT_OK); /* they are one pool: TW105 */
	assert_int_equal(the(&scene, "TW105")->verdict, VERDICT_PROBLEM);
	says(the(&scene, "TW105"), "source address 10.0.0.1, of which 1,000 (100 %)");
	says(the(&scene, "TW105"), "late_bind=true,exe=python3.11");
}

static void a_port_ring_goes_on_where_all_others_fail(void **state)
{
	fill_with_time_wait(REDIS, 2);
	scene.destinations[PYTHON].recent.port_ring = 1000;
	assert_int_equal(verdict_of_fill(), VERDICT_WARNING);
	says(the(&scene, "TW103"), "python3.11 itself reuses them, by its port_ring");
	says(the(&scene, "TW103"), "port_ring=41000-65535,to=10.0.0.7:6379");
	says_not(the(&scene, "TW103"), "they run out in");
	says_not(the(&scene, "TW103"), "now");

	scene.destinations[PYTHON].recent.port_ring_outside =
	    1; /* where it was told to */
	report(&scene);
	says_not(the(&scene, "TW103"), "port_ring");
}

/* -------------------------------------------------------- who takes them from others */

/* Perl found no free port to another server, although none is in use there. */
static void starve(void)
{
	make(&scene, REDIS);
	hold(&scene, PYTHON, 1000, TCP_TIME_WAIT, 5);
	scene.destinations[PYTHON].recent.ended = 1000;
	scene.apps[PYTHON].counters.value[TWS_bound_before_connect] = 1000;
	scene.destinations[PERL].address.port = 8002;
	scene.destinations[PERL].ports.used = 0;
	scene.destinations[PERL].counters.value[TWS_attempts] = 1;
	scene.destinations[PERL].counters.value[TWS_failed_no_port] = 1;
	scene.destinations[PERL].recent.no_port = 1;
}

static void who_binds_early_and_starves_others_is_the_problem(void **state)
{
	starve();
	scene.destinations[PYTHON].recent.early_bind = 1000;
	scene.apps[PYTHON].recent.early_bind = 1000;
	for (int i = 0; i < 2; i++) {
		i ? report(&scene) : diagnose(&scene);
		assert_int_equal(the(&scene, "TW105")->verdict, VERDICT_PROBLEM);
		says(the(&scene, "TW105"),
		     "at least 1 connect of other programs found no port");
		says(the(&scene, "TW104"),
		     "only 0 of 1,000 ephemeral ports to it are in use");
		says(the(&scene, "TW104"), "python3.11 binds before connect()");
		says(the(&scene, "TW104"), "late_bind=true,exe=python3.11");
		says_not(the(&scene, "TW104"), "fin-reset");
		says_not(the(&scene, "TW104"), "at most 0");
	}
	scene.destinations[PERL].recent.no_port = 0; /* that was an hour ago */
	report(&scene);
	says_not(the(&scene, "TW105"), "other programs"); /* but the pool is full */
	says_not(the(&scene, "TW104"), "at most 0");
}

static void who_rings_and_starves_others_is_named(void **state)
{
	starve();
	scene.destinations[PYTHON].recent.port_ring = 1000;
	scene.apps[PYTHON].recent.port_ring = 1000;
	diagnose(&scene);
	says(the(&scene, "TW104"), "the port_ring of python3.11 takes ports from all "
				   "other programs");
	says(the(&scene, "TW104"), "port_ring=41000-65535");
	assert_int_equal(the(&scene, "TW103")->verdict, VERDICT_PROBLEM);
	says(the(&scene, "TW103"), "in the last minute at least 1 connect found no port");
}

static void of_ports_held_by_strangers_no_cure_is_made_up(void **state)
{
	starve();
	diagnose(&scene);
	says(the(&scene, "TW104"), "ip_local_reserved_ports");
	says_not(the(&scene, "TW104"), "fin-reset");
	scene.destinations[PERL].counters.value[TWS_peak_open] = 900; /* its own, then */
	diagnose(&scene);
	says(the(&scene, "TW104"), "keep connections open");
}

static void no_port_left_for_open_connections_is_no_case_for_fin_reset(void **state)
{
	make(&scene, REDIS);
	scene.model.order_count = 1;
	hold(&scene, PYTHON, 1000, TCP_ESTABLISHED, 0);
	scene.destinations[PYTHON].counters.value[TWS_attempts] = 1001;
	scene.destinations[PYTHON].counters.value[TWS_peak_open] = 1000;
	scene.destinations[PYTHON].counters.value[TWS_failed_no_port] = 1;
	report(&scene);
	says(the(&scene, "TW104"), "open connections hold");
	says_not(the(&scene, "TW104"), "fin-reset");
}

static void old_failures_are_no_problem_now(void **state)
{
	make(&scene, REDIS);
	hold(&scene, PERL, 1000, TCP_TIME_WAIT, 5);
	scene.destinations[PYTHON].counters.value[TWS_attempts] = 700;
	scene.destinations[PYTHON].counters.value[TWS_failed_no_port] = 600;
	diagnose(&scene);
	assert_int_equal(count(&scene, "TW104", &(const struct advice_finding *){NULL}),
			 0);
	assert_string_equal(the(&scene, "TW103")->app, "perl");
	scene.destinations[PYTHON].recent.no_port = 3; /* the control: some are new */
	diagnose(&scene);
	says(the(&scene, "TW104"), "600 of 700 connects");
	says(the(&scene, "TW104"), "at least 3 in the last minute");
}

static void the_state_that_holds_most_ports_is_named(void **state)
{
	static const struct {
		int state;
		const char *name, *cure;
	} rows[] = {
	    {TCP_FIN_WAIT2, "900 are in FIN_WAIT_2", "close=fin-reset,to=10.0.0.7:6379"},
	    {TCP_FIN_WAIT1, "900 are in FIN_WAIT_1", "does not acknowledge our FIN"},
	    {TCP_SYN_SENT, "900 are in SYN_SENT", "the peer does not answer"},
	    {TCP_CLOSE_WAIT, "900 are in CLOSE_WAIT", "must close a connection"},
	    {TCP_LAST_ACK, "900 are in LAST_ACK", "does not acknowledge our FIN"},
	    {TCP_CLOSING, "900 are in CLOSING", "both sides closed at once"},
	    {TCP_ESTABLISHED, "900 are open", "keep fewer open"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		make(&scene, REDIS);
		hold(&scene, PYTHON, 900, rows[i].state, 0);
		hold(&scene, PYTHON, 50, TCP_TIME_WAIT, 30);
		report(&scene);
		says(the(&scene, "TW103"), rows[i].name);
		says(the(&scene, "TW103"), rows[i].cure);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_largest_holder_is_named_where_nobody_has_the_majority),
	    cmocka_unit_test(a_few_sockets_among_many_of_others_name_nobody),
	    cmocka_unit_test(the_time_wait_of_others_is_time_wait),
	    cmocka_unit_test(open_connections_are_called_open),
	    cmocka_unit_test(the_cure_for_running_out_gives_ports_back),
	    cmocka_unit_test(a_list_of_reserved_ports_is_not_cured_by_a_wider_range),
	    cmocka_unit_test(the_forecast_rises_and_falls),
	    cmocka_unit_test(time_wait_that_connect_takes_over_fills_nothing),
	    cmocka_unit_test(what_is_open_is_taken_whatever_is_taken_over),
	    cmocka_unit_test(ports_that_were_bound_are_not_taken_over),
	    cmocka_unit_test(a_port_ring_goes_on_where_all_others_fail),
	    cmocka_unit_test(who_binds_early_and_starves_others_is_the_problem),
	    cmocka_unit_test(who_rings_and_starves_others_is_named),
	    cmocka_unit_test(of_ports_held_by_strangers_no_cure_is_made_up),
	    cmocka_unit_test(no_port_left_for_open_connections_is_no_case_for_fin_reset),
	    cmocka_unit_test(old_failures_are_no_problem_now),
	    cmocka_unit_test(the_state_that_holds_most_ports_is_named),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	advice_free(&scene.advice);
	return failed;
}
