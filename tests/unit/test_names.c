/* SPDX-License-Identifier: MIT
 *
 * What an application is called: scripts from command lines, units and containers from
 * /proc/PID/cgroup, and which of the names comes first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "shim/shared/names.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* The words of a command line are separated by '|'. */
static void command_to_script(const char *exe, const char *command,
			      struct tws_names *ret_names)
{
	size_t length = strlen(command);
	/* Exactly as long as the text, so that reading beyond it is found. */
	char *copy = malloc(length + 1);

	assert_non_null(copy);
	memcpy(copy, command, length + 1);
	for (size_t i = 0; i < length; i++)
		if (copy[i] == '|')
			copy[i] = '\0';
	memset(ret_names, 0, sizeof(*ret_names));
	tws_names_script(ret_names, exe, copy, length + 1);
	free(copy);
}

static void a_command_line_names_its_script_module_or_class(void **state)
{
	static const struct {
		const char *exe, *command, *script;
	} ROWS[] = {
	    {"/usr/bin/python3.11", "python3|app.py", "app.py"},
	    {"/usr/bin/python3.11", "python3|/srv/shop/app.py|--port|80", "app.py"},
	    {"/usr/bin/python3.11", "/usr/bin/python3|-u|-W|ignore|./x.py", "x.py"},
	    {"/usr/bin/python3.11", "python3|-Wignore|-X|dev|x.py", "x.py"},
	    {"/usr/bin/python3.11", "python3|-m|gunicorn|app:x", "gunicorn"},
	    {"/usr/bin/python3.11", "python3|-Ium|http.server|80", "http.server"},
	    {"/usr/bin/python3.11", "python3|-mhttp.server", "http.server"},
	    {"/usr/bin/python3.11", "python3|/usr/bin/gunicorn|shop:app", "gunicorn"},
	    {"/usr/bin/python3.11", "gunicorn: worker [shop]", "gunicorn"},
	    {"/usr/bin/python3.11", "python3|-c|import secret", ""},
	    {"/usr/bin/python3.11", "python3|-uc|import secret|x.py", ""},
	    {"/usr/bin/python3.11", "python3|-", ""},
	    {"/usr/bin/phpize8.2", "phpize8.2|build.php", ""},
	    {"/usr/bin/node_exporter", "node_exporter|textfile", ""},
	    {"/usr/bin/nodejs", "nodejs|srv.js", "srv.js"},
	    {"/usr/bin/php8.2", "php8.2|job.php", "job.php"},
	    {"/usr/bin/python3.11", "python3", ""},
	    {"/usr/bin/python3.11", "python3|-m", ""},
	    {"/usr/bin/python3.11", "python3|--|-odd.py", "-odd.py"},
	    {"/usr/bin/pypy3", "pypy3|job.py", "job.py"},
	    {"/usr/bin/node", "node|srv.js", "srv.js"},
	    {"/usr/bin/node", "node|--max-old-space-size=99|-r|dotenv/config|d/srv.js",
	     "srv.js"},
	    {"/usr/bin/node", "node|-e|fetch(secret)", ""},
	    {"/usr/bin/node", "node|inspect|srv.js", "srv.js"},
	    {"/usr/bin/node", "node|--token|key=abc|srv.js", ""},
	    {"/opt/bun", "bun|run|index.ts", "index.ts"},
	    {"/opt/deno", "deno|run|--allow-net|main.ts", "main.ts"},
	    {"/usr/lib/jvm/17/bin/java", "java|-Xmx1g|-jar|/opt/x.jar|--key|k", "x.jar"},
	    {"/usr/lib/jvm/17/bin/java", "java|-cp|a.jar:b.jar|com.example.Main",
	     "com.example.Main"},
	    {"/usr/lib/jvm/17/bin/java", "java|-p|mods|-m|shop/com.example.Main|x",
	     "com.example.Main"},
	    {"/usr/lib/jvm/17/bin/java", "java|-Da=b|@args|Client.java", "Client.java"},
	    {"/usr/sbin/php-fpm8.2", "php-fpm: pool www", "php-fpm pool www"},
	    {"/usr/sbin/php-fpm8.2", "php-fpm: master process (/etc/php/fpm.conf)", ""},
	    {"/usr/bin/php8.2", "php|-d|a=b|artisan|queue:work", "artisan"},
	    {"/usr/bin/php8.2", "php|-f|x.php", "x.php"},
	    {"/usr/bin/php8.2", "php|-r|secret()", ""},
	    {"/usr/bin/perl", "perl|-w|-MSocket|/opt/a.pl", "a.pl"},
	    {"/usr/bin/perl", "/usr/bin/perl|-T|-I|lib|a.pl", "a.pl"},
	    {"/usr/bin/perl", "perl|-lane|print secret", ""},
	    {"/usr/bin/ruby3.1", "ruby|-W0|-Ilib|-r|json|job.rb", "job.rb"},
	    {"/usr/bin/ruby3.1", "puma: cluster worker 0: 4711 [shop]", "puma"},
	    {"/usr/bin/bash", "/bin/bash|/etc/cron.sh", "cron.sh"},
	    {"/usr/bin/bash", "bash|-o|pipefail|-eu|cron.sh|secret", "cron.sh"},
	    {"/usr/bin/bash", "bash|-xec|curl secret", ""},
	    {"/usr/bin/bash", "-bash", ""},
	    {"/usr/bin/dash", "sh|-c|curl http://user:secret@a/", ""},
	    {"/usr/bin/dash", "/bin/sh|./poll.sh", "poll.sh"},
	    {"/bin/sh", "sh|./poll.sh", "poll.sh"},
	    {"/usr/bin/zsh-5.9", "zsh|-x|poll.sh", "poll.sh"},
	    {"/usr/bin/ksh93", "ksh|-o|errexit|poll.sh", "poll.sh"},
	    {"/usr/bin/ssh", "ssh|host", ""},
	    {"/usr/bin/lua5.4", "lua|a.lua", "a.lua"},
	    {"/usr/bin/dotnet", "dotnet|exec|--depsfile|d.json|bin/shop.dll", "shop.dll"},
	    {"/usr/bin/mono", "mono|shop.exe", "shop.exe"},
	    {"/usr/bin/curl", "curl|http://user:secret@a/x.py", ""},
	    {"/usr/bin/python3.11", "python3|dir/", "dir"},
	    {"/usr/bin/python3.11", "python3|/", ""},
	    {"/usr/bin/python3.11", "python3|a\nb.py", ""},
	    {"/usr/bin/python3.11", "python3||x.py", ""},
	    {"", "", ""},
	    {"/usr/bin/python3.11", "", ""},
	};
	struct tws_names names;

	for (size_t i = 0; i < COUNT(ROWS); i++) {
		command_to_script(ROWS[i].exe, ROWS[i].command, &names);
		if (strcmp(names.script, ROWS[i].script) != 0)
			fail_msg("%s: script is '%s', not '%s'", ROWS[i].command,
				 names.script, ROWS[i].script);
	}
}

static void a_command_line_may_be_cut_off_anywhere(void **state)
{
	static const char command[] = "python3\0-W\0ignore\0-m\0shop.app\0--key\0k";
	struct tws_names names = {.given = ""};

	for (size_t length = 0; length <= sizeof(command); length++) {
		char *copy = malloc(length + !length);

		assert_non_null(copy);
		memcpy(copy, command, length);
		tws_names_script(&names, "python3", copy, length);
		free(copy);
	}
	assert_string_equal(names.script, "shop.app");
}

#define ID  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define POD "pod1b2c3d4e_0000_4000_8000_000000000000"

static void a_cgroup_names_unit_and_container(void **state)
{
	static const struct {
		const char *cgroup, *unit, *container;
	} ROWS[] = {
	    {"0::/system.slice/nginx.service\n", "nginx.service", ""},
	    {"0::/system.slice/system-shop.slice/shop@eu.service\n", "shop@eu.service",
	     ""},
	    {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service\n",
	     "sync.service", ""},
	    {"0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "", ""},
	    {"0::/user.slice/user-1000.slice/session-3.scope\n", "", ""},
	    {"0::/init.scope\n", "", ""},
	    {"0::/\n", "", ""},
	    {"", "", ""},
	    {"0::/system.slice/a.service/sub/group\n", "a.service", ""},
	    {"0::/system.slice/a.service (deleted)\n", "a.service", ""},
	    {"12:pids:/system.slice/cups.service\n11:cpu,cpuacct:/\n"
	     "1:name=systemd:/system.slice/cups.service\n0::/system.slice/cups.service\n",
	     "cups.service", ""},
	    {"0::/system.slice/docker-" ID ".scope\n", "", "0123456789ab"},
	    {"9:memory:/docker/" ID "\n8:pids:/docker/" ID "\n", "", "0123456789ab"},
	    {"0::/machine.slice/libpod-" ID ".scope/container\n", "", "0123456789ab"},
	    {"0::/machine.slice/libpod-conmon-" ID ".scope\n", "", ""},
	    {"0::/system.slice/web.service/libpod-payload-" ID "\n", "web.service",
	     "0123456789ab"},
	    {"0::/user.slice/user-1.slice/user@1.service/user.slice/libpod-" ID
	     ".scope/container\n",
	     "", "0123456789ab"},
	    {"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-" POD
	     ".slice/cri-containerd-" ID ".scope\n",
	     "", "0123456789ab"},
	    {"0::/kubepods.slice/kubepods-" POD ".slice/crio-" ID ".scope\n", "",
	     "0123456789ab"},
	    {"4:memory:/kubepods/burstable/" POD "/" ID "\n", "", "0123456789ab"},
	    {"0::/system.slice/containerd.service/kubepods-" POD
	     ".slice:cri-containerd:" ID "\n",
	     "", "0123456789ab"},
	    {"0::/system.slice/containerd.service\n", "containerd.service", ""},
	    {"0::/ecs/0123456789abcdef0123456789abcdef/" ID "\n", "", "0123456789ab"},
	    {"0::/lxc.payload.web1/system.slice/nginx.service\n", "nginx.service",
	     "web1"},
	    {"0::/lxc.payload.web1\n", "", "web1"},
	    {"0::/lxc.monitor.web1\n", "", ""},
	    {"3:cpu:/lxc/web1\n", "", "web1"},
	    {"0::/machine.slice/machine-web\\x2d1.scope\n", "", "web-1"},
	    {"0::/../../system.slice/a.service\n", "a.service", ""},
	    {"4:memory:/process_api/0123456789abcdef0123456789abcdef\n", "", ""},
	    {"0::/x" ID "\n", "", ""},
	    {"0::/" ID "0\n", "", ""},
	    {"no colons at all", "", ""},
	    {"::\n:\n\n", "", ""},
	    {"0::/.service\n", "", ""},
	};
	struct tws_names names;

	for (size_t i = 0; i < COUNT(ROWS); i++) {
		memset(&names, 0, sizeof(names));
		tws_names_cgroup(&names, ROWS[i].cgroup);
		if (strcmp(names.unit, ROWS[i].unit) != 0 ||
		    strcmp(names.container, ROWS[i].container) != 0)
			fail_msg("%s: unit '%s', container '%s'", ROWS[i].cgroup,
				 names.unit, names.container);
	}
}

static void the_first_name_that_exists_is_the_applications(void **state)
{
	struct tws_names names = {.script = "app.py"};
	const char *exe = "/usr/bin/python3.11";

	assert_string_equal(tws_names_app(&(struct tws_names){.given = ""}, exe),
			    "python3.11");
	assert_string_equal(tws_names_app(&(struct tws_names){.given = ""}, "curl"),
			    "curl");
	assert_string_equal(tws_names_app(&names, exe), "app.py");
	strcpy(names.container, "web1");
	assert_string_equal(tws_names_app(&names, exe), "web1");
	strcpy(names.unit, "shop.service");
	assert_string_equal(tws_names_app(&names, exe), "shop.service");
	strcpy(names.given, "shop");
	assert_string_equal(tws_names_app(&names, exe), "shop");
}

static void
a_unit_that_starts_the_commands_of_others_is_no_applications_name(void **state)
{
	static const char *const UNITS[] = {"cron.service", "sshd@0-a:22-b:1.service",
					    "run-u12.service", "run-r0123abcd.service"};
	struct tws_names names = {.script = "poll.sh"};

	for (size_t i = 0; i < COUNT(UNITS); i++) {
		strcpy(names.unit, UNITS[i]);
		assert_string_equal(tws_names_app(&names, "/bin/sh"), "poll.sh");
	}
	strcpy(names.unit, "run-backup.service");
	assert_string_equal(tws_names_app(&names, "/bin/sh"), "run-backup.service");
}

static void a_long_name_is_cut_between_characters(void **state)
{
	char name[8];

	tws_names_set(name, sizeof(name), "abcdefghij", 10);
	assert_string_equal(name, "abcdefg");
	tws_names_set(name, sizeof(name), "abcdef\xc3\xa4", 8);
	assert_string_equal(name, "abcdef");
	tws_names_set(name, sizeof(name), "\xa4\xa4\xa4\xa4\xa4\xa4\xa4\xa4", 8);
	assert_string_equal(name, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_command_line_names_its_script_module_or_class),
	    cmocka_unit_test(a_command_line_may_be_cut_off_anywhere),
	    cmocka_unit_test(a_cgroup_names_unit_and_container),
	    cmocka_unit_test(the_first_name_that_exists_is_the_applications),
	    cmocka_unit_test(
		a_unit_that_starts_the_commands_of_others_is_no_applications_name),
	    cmocka_unit_test(a_long_name_is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
