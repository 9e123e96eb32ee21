/* SPDX-License-Identifier: MIT
 *
 * Makes the first inputs of the targets whose inputs are not text: segments, policy
 * images, sock_diag messages. Run it again when the layout changes: seed CORPUS
 */
#include <arpa/inet.h>
#include <elf.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <sys/stat.h>

#include "config/compile.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/saved_segment.h"

static int corpus = -1;

static void write_seed(const char *target, const char *name, const void *bytes,
		       size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", target, name);
	mkdirat(corpus, target, 0755);
	fuzz_write(corpus, path, bytes, size);
}

/* ----------------------------------------------------------------- segments */

static void fill(struct saved *saved, const char *exe)
{
	uint64_t *values;

	saved_init(saved, exe, NULL);
	saved->header.uid = FUZZ_OURS;
	values = saved_destination(saved, saved_ipv4(2, 80));
	values[TWS_attempts] = 9;
	values[TWS_established] = 8;
	values[TWS_failed_refused] = 1;
	values[TWS_ended_local_fin] = 5;
	values[TWS_ended_remote_fin] = 1;
	values[TWS_short_lived] = 5;
	values[TWS_bytes_sent] = 12345;
	values = saved_destination(saved, saved_ipv4(3, 443));
	values[TWS_attempts] = values[TWS_established] = UINT64_MAX;
	saved_connection(saved, TWS_CONN_OPEN, 1);
	saved_connection(saved, TWS_CONN_CONNECTING, 2);
	saved_connection(saved, TWS_CONN_ENDING, 3)->ending = TWS_END_LOCAL_FIN;
	for (uint64_t cookie = 3; cookie < 8; cookie++) {
		saved_time_wait(saved, cookie);
		saved_ended(saved, cookie, TWS_END_LOCAL_FIN,
			    (90 + cookie) * SAVED_SECOND)
		    ->arm = 1;
	}
	saved->arms[0].state = TWS_DESTINATION_READY;
	saved->arms[0].weight = 1;
	strcpy(saved->arms[0].experiment, "close\x1b[31m");
	strcpy(saved->arms[0].name, "control");
	saved->header.section[TWS_SECTION_ARMS].used = 1;
}

/* The segments when trace begins, and those later, with another ending. */
static void write_twice(const char *target, const char *name, uint8_t first,
			const struct saved *saved, size_t count)
{
	size_t size = 1 + count * sizeof(*saved);
	uint8_t *bytes = malloc(2 * size);
	struct saved *later = malloc(count * sizeof(*saved));

	FUZZ_CHECK(bytes && later);
	memcpy(later, saved, count * sizeof(*saved));
	saved_ended(later, 9, TWS_END_RESET_APP, 99 * SAVED_SECOND);
	bytes[0] = bytes[size] = first;
	memcpy(bytes + 1, saved, size - 1);
	memcpy(bytes + size + 1, later, size - 1);
	write_seed(target, name, bytes, 2 * size);
	free(later);
	free(bytes);
}

/* `first` encodes the number of files and whether the first is totals, see
 * fuzz_write_segments(). */
static void write_segments(const char *name, uint8_t first, const struct saved *saved,
			   size_t count)
{
	size_t size = 1 + count * sizeof(*saved);
	uint8_t *bytes = malloc(size);

	FUZZ_CHECK(bytes);
	bytes[0] = first;
	memcpy(bytes + 1, saved, count * sizeof(*saved));
	write_seed("segment", name, bytes, size);
	write_seed("fold", name, bytes, size);
	free(bytes);
	if (!first)
		write_twice("follow", name, first, saved, count);
}

static void seed_segments(void)
{
	static struct saved saved[2];

	fill(&saved[0], "/usr/bin/curl");
	write_segments("one", 0, saved, 1);
	saved[0].header.state = TWS_SEGMENT_EXITED;
	strcpy(saved[0].header.exe, "/bin/a\x1b[31m\n\x7f\xff\\\"<\xe2\x80\xae");
	write_segments("exited", 0, saved, 1);
	saved[0].header.state = TWS_SEGMENT_TOTALS;
	saved[0].header.folded_processes = 3;
	saved[0].header.section[TWS_SECTION_FOLDED].used = 1;
	strcpy(saved[0].folded[0].name, "1-4244-1-0.seg");
	fill(&saved[1], "/usr/bin/curl");
	write_segments("totals", 0x81, saved, 2);
	write_segments("torn", 0x82, saved, 1);
	write_seed("segment", "empty", "", 0);
}

/* ------------------------------------------------------------------ policies */

static const char *const rules[] = {
    "name=redis,close=fin-reset,exe=php-fpm*,to=10.0.0.0/8:6379,to=[fd00::/8]:6379",
    "close=reset,exe=wrk,uid=33,sample=50,short_lived=true",
    "port_range=full,late_bind=true,dry_run=true,exe=/usr/*/[a-z]?,to=*:443",
    "close=linger,linger_seconds=3",
};

static void seed_image(const char *name, const struct tws_source *source)
{
	struct tws_complaints complaints = {0};
	struct tws_policy_image *image = tws_compile(source, &complaints);

	if (!image)
		fprintf(stderr, "%s: %s\n", name, complaints.list[0].problem.what);
	FUZZ_CHECK(image);
	write_seed("policy", name, image, image->size);
	image->checksum = UINT32_MAX; /* the target corrects it */
	write_seed("policy", "loose", image, image->size);
	free(image);
	tws_complaints_free(&complaints);
}

/* ------------------------------------------------------------------ messages */

static void seed_messages(void)
{
	char buffer[1024] __attribute__((aligned(8))) = "";
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct inet_diag_msg *diag;
	struct tcp_info info = {.tcpi_bytes_acked = 12, .tcpi_bytes_sent = 10};

	message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	message->nlmsg_flags = NLM_F_MULTI;
	diag = mnl_nlmsg_put_extra_header(message, sizeof(*diag));
	diag->idiag_family = 2;
	diag->idiag_state = 6;
	diag->idiag_expires = 59000;
	diag->id.idiag_sport = htons(40001);
	diag->id.idiag_dport = htons(80);
	diag->id.idiag_src[0] = diag->id.idiag_dst[0] = htonl(0x0a000001);
	diag->id.idiag_cookie[0] = 77;
	mnl_attr_put(message, INET_DIAG_INFO, sizeof(info), &info);
	write_seed("listener", "one", message, message->nlmsg_len);
	write_seed("kernel", "one", message, message->nlmsg_len);
	memcpy(buffer + message->nlmsg_len, message, message->nlmsg_len);
	write_seed("kernel", "two", message, 2ul * message->nlmsg_len);
}

/* ------------------------------------------------------------------- programs */

/* A dynamic Go program: its loader and its note. */
static void seed_program(void)
{
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr parts[2];
		char loader[28];
		Elf64_Nhdr note;
		char name[4], text[8];
	} program = {
	    .header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
				   ELFDATA2LSB, EV_CURRENT},
		       .e_type = ET_DYN,
		       .e_machine = EM_X86_64,
		       .e_version = EV_CURRENT,
		       .e_ehsize = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr)},
	    .loader = "/lib64/ld-linux-x86-64.so.2",
	    .note = {.n_namesz = 4, .n_descsz = 8, .n_type = 4},
	    .name = "Go",
	    .text = "build",
	};

	program.header.e_phoff = offsetof(typeof(program), parts);
	program.header.e_phnum = 2;
	program.parts[0] = (Elf64_Phdr){.p_type = PT_INTERP,
					.p_offset = offsetof(typeof(program), loader),
					.p_filesz = sizeof(program.loader)};
	program.parts[1] =
	    (Elf64_Phdr){.p_type = PT_NOTE,
			 .p_offset = offsetof(typeof(program), note),
			 .p_filesz = sizeof(program) - offsetof(typeof(program), note),
			 .p_align = 4};
	write_seed("reach", "program", &program, sizeof(program));
}

int main(int argc, char **argv)
{
	const struct tws_source four = {.rules = rules, .rule_count = 4};
	const struct tws_source file = {.file = "config/examples/experiment.conf"};

	if (argc == 2)
		corpus = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(corpus >= 0);
	seed_segments();
	seed_image("rules", &four);
	seed_image("experiment", &file);
	seed_messages();
	seed_program();
	return 0;
}
