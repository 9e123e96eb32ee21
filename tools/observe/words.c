/* SPDX-License-Identifier: MIT
 *
 * Loads and attaches words.bpf.c, and reads its ring.
 */
#include "tools/observe/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/kernel/kernel.h"
#include "tools/kernel/message.h"
#include "tools/observe/bpf_object.h"
#include "tools/observe/bpf_words.h"
#include "tools/observe/libbpf.h"

struct words {
	struct kernel_listener *listener;
	struct bpf_object *object;
	struct ring_buffer *ring;
	struct bpf_link *link;
};

static int words_fd(const void *source)
{
	const struct words *words = source;

	return libbpf.ring_buffer__epoll_fd(words->ring);
}

static int take(void *data, void *record, size_t size)
{
	const struct words *words = data;
	const struct bpf_words *from = record;
	struct kernel_destroyed destroyed = {
	    .cookie = from->cookie, .unread = from->unread, .unacked = from->unacked};

	(void)size;
	kernel_decode_address(&destroyed.local, from->source, from->source_port,
			      (uint8_t)from->family);
	kernel_decode_address(&destroyed.remote, from->target, from->target_port,
			      (uint8_t)from->family);
	kernel_destroyed_set_bytes(&destroyed, from->bytes_acked, from->bytes_received,
				   from->bytes_sent, from->bytes_retrans);
	kernel_listener_take(words->listener, &destroyed);
	return 0;
}

static int words_drain(void *source)
{
	const struct words *words = source;

	return libbpf.ring_buffer__consume(words->ring);
}

static uint64_t words_lost(const void *source)
{
	const struct words *words = source;
	uint32_t zero = 0;
	uint64_t lost = 0;

	libbpf.bpf_map_lookup_elem(libbpf_map(words->object, "lost"), &zero, &lost);
	return lost;
}

static void words_close(void *source)
{
	struct words *words = source;

	if (words->link)
		libbpf.bpf_link__destroy(words->link);
	if (words->ring)
		libbpf.ring_buffer__free(words->ring);
	if (words->object)
		libbpf.bpf_object__close(words->object);
	free(words);
}

static int load(struct words *words)
{
	const uint32_t net_namespace = (uint32_t)kernel_namespace("net");
	int result;

	words->object = libbpf_open(words_bpf, words_bpf_end);
	if (!words->object)
		return -errno;
	result =
	    libbpf_set_constants(words->object, &net_namespace, sizeof(net_namespace));
	return result ? result : libbpf.bpf_object__load(words->object);
}

static int attach(struct words *words)
{
	struct bpf_program *program;

	words->ring =
	    libbpf.ring_buffer__new(libbpf_map(words->object, "ring"), take, words, NULL);
	if (!words->ring)
		return -errno;
	program = libbpf.bpf_object__find_program_by_name(words->object, "on_destroy");
	words->link = program ? libbpf.bpf_program__attach(program) : NULL;
	return words->link ? 0 : -errno;
}

static int words_open(void **ret_source, struct kernel_listener *listener)
{
	struct words *words;
	char unsaid[256];
	int result;

	if (!bpf_object_is_built() || libbpf_load(unsaid, sizeof(unsaid)) != 0)
		return -ENOTSUP;
	words = calloc(1, sizeof(*words));
	if (!words)
		return -ENOMEM;
	words->listener = listener;
	result = load(words);
	if (result == 0)
		result = attach(words);
	if (result == 0)
		*ret_source = words;
	else
		words_close(words);
	return result;
}

const struct kernel_source *words_source(void)
{
	static const struct kernel_source source = {.open = words_open,
						    .fd = words_fd,
						    .drain = words_drain,
						    .lost = words_lost,
						    .close = words_close};

	return geteuid() == 0 ? &source : NULL;
}
