/* SPDX-License-Identifier: MIT
 *
 * The warnings about a valid policy on a host with these ports.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/policy/host_ports.h"

/* The warnings about a source on a host with this range and these reserved ports. */
static struct tws_complaints warn(const struct tws_source *source, uint16_t low,
				  uint16_t high, const char *reserved)
{
	struct tws_complaints ret = {0}, of_text = {0};
	struct tws_policy_image *image = tws_compile(source, &of_text);
	struct kernel_ports ports;

	assert_non_null(image);
	kernel_ports_set(&ports, low, high, reserved);
	memcpy(ret.arm_line, of_text.arm_line, sizeof(ret.arm_line));
	tws_policy_warn_of_ports(image, source, &ports, &ret);
	tws_complaints_free(&of_text);
	free(image);
	return ret;
}

/* A one-line rule gets one warning that contains both texts; NULL: no warning. */
static void expect(const char *rule, uint16_t low, uint16_t high, const char *reserved,
		   const char *what, const char *cure)
{
	const struct tws_source source = {.rules = &rule, .rule_count = 1};
	struct tws_complaints found = warn(&source, low, high, reserved);

	assert_int_equal(found.count, what ? 1 : 0);
	if (what) {
		assert_true(found.list[0].warning);
		assert_string_equal(found.list[0].file, "-p");
		assert_int_equal(found.list[0].line, 1);
		if (!strstr(found.list[0].problem.what, what))
			fail_msg("%s: %s", rule, found.list[0].problem.what);
		if (!strstr(found.list[0].problem.cure, cure))
			fail_msg("%s: %s", rule, found.list[0].problem.cure);
	}
	tws_complaints_free(&found);
}

static void a_ring_within_the_range_of_connect_has_a_price(void **state)
{
	expect("port_ring=full,to=10.0.0.7", 32768, 60999, "",
	       "port_ring = \"full\" takes 28232 of the 28232 ports", "\"22768-32767\"");
	expect("port_ring=full,to=10.0.0.7", 32768, 60999, "", "to any destination",
	       "fin-reset");
	expect("port_ring=60000-61999,to=10.0.0.7", 32768, 60999, "",
	       "\"60000-61999\" takes 1000 of the 28232 ports", "\"22768-32767\"");
	expect("port_ring=40000-40000,to=10.0.0.7", 40000, 40000, "", "takes 1 of the 1 ",
	       "\"30000-39999\"");
}

static void ports_that_connect_never_chooses_are_free_of_it(void **state)
{
	expect("port_ring=20000-32767,to=10.0.0.7", 32768, 60999, "", NULL, NULL);
	expect("port_ring=61000-65535,to=10.0.0.7", 32768, 60999, "", NULL, NULL);
	expect("port_ring=40000-40999,to=10.0.0.7", 32768, 60999, "80,40000-40999\n",
	       NULL, NULL);
	expect("port_ring=40000-41000,to=10.0.0.7", 32768, 60999, "40000-40999",
	       "takes 1 of the 27232 ports", "");
	expect("port_range=full,to=10.0.0.7", 32768, 60999, "", NULL, NULL);
}

static void where_the_range_is_everything_a_slice_is_to_be_reserved(void **state)
{
	expect("port_ring=full,to=10.0.0.7", 1024, 65535, "", "takes 64512 of",
	       "put a slice of it into net.ipv4.ip_local_reserved_ports");
	expect("port_ring=full,to=10.0.0.7", 1024, 50000, "", "port_ring",
	       "\"50001-60000\"");
	expect("port_ring=full,to=10.0.0.7", 0, 0, "", NULL, NULL);
}

static void a_range_outside_of_the_kernels_is_ignored_by_it(void **state)
{
	expect("port_range=100-200,to=10.0.0.7", 32768, 60999, "",
	       "port_range = \"100-200\" is outside", "ignores it in silence");
	expect("port_range=100-40000,to=10.0.0.7", 32768, 60999, "", NULL, NULL);
}

static void rules_of_a_file_and_arms_are_looked_at_too(void **state)
{
	char path[] = "/tmp/twshim-policy-XXXXXX";
	const char *text =
	    "rules = ( { close = \"keep\"; },\n"
	    "{ match = { to = [\"10.0.0.7\"]; }; port_ring = \"full\"; } );\n"
	    "experiment = { name = \"e\"; arms = ( { name = \"a\"; },\n"
	    "{ name = \"b\"; port_ring = \"full\"; } ); };\n";
	const char *rule = "close=fin-reset";
	const struct tws_source source = {.file = path, .rules = &rule, .rule_count = 1};
	struct tws_complaints found;
	int fd = mkstemp(path);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	found = warn(&source, 32768, 60999, "");
	assert_int_equal(found.count, 2);
	assert_string_equal(found.list[0].file, path);
	assert_int_equal(found.list[0].line, 2);
	assert_string_equal(found.list[1].file, path);
	assert_int_equal(found.list[1].line, 4);
	tws_complaints_free(&found);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_ring_within_the_range_of_connect_has_a_price),
	    cmocka_unit_test(ports_that_connect_never_chooses_are_free_of_it),
	    cmocka_unit_test(where_the_range_is_everything_a_slice_is_to_be_reserved),
	    cmocka_unit_test(a_range_outside_of_the_kernels_is_ignored_by_it),
	    cmocka_unit_test(rules_of_a_file_and_arms_are_looked_at_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
