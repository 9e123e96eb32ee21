/* SPDX-License-Identifier: MIT */
#include "tools/run_unseen.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/base/print.h"
#include "tools/model/model.h"

#define TIME_WAIT_MS 60000
#define ROUNDED_MS   2
#define NAMED	     3	/* destinations, those with the most sockets */
#define KEPT	     64 /* destinations that are told apart */

struct unseen {
	struct {
		struct tws_address to;
		uint64_t count;
	} destination[KEPT];
	size_t kept;
	uint64_t count;
};

static void add_socket(struct unseen *unseen, const struct tws_address *to)
{
	size_t i = 0;

	unseen->count++;
	while (i < unseen->kept &&
	       memcmp(&unseen->destination[i].to, to, sizeof(*to)) != 0)
		i++;
	if (i == KEPT)
		return;
	if (i == unseen->kept) {
		unseen->destination[i].to = *to;
		unseen->destination[i].count = 0;
		unseen->kept++;
	}
	unseen->destination[i].count++;
}

static bool is_unowned(const struct model *model, size_t index)
{
	return model->owners[index].app == MODEL_NOBODY &&
	       !model_is_incoming(model, index);
}

static void count_sockets(struct unseen *unseen, const struct model *model,
			  uint64_t elapsed_ms)
{
	for (size_t i = 0; model->has_table && i < model->table.count; i++) {
		const struct kernel_socket *socket = &model->table.sockets[i];

		if (socket->state == TCP_TIME_WAIT && is_unowned(model, i) &&
		    socket->expires_ms + elapsed_ms >= TIME_WAIT_MS)
			add_socket(unseen, &socket->remote);
	}
}

/* Names the destination with the most sockets, and forgets it. */
static size_t name_largest(struct unseen *unseen, char *text, size_t size,
			   const char *before)
{
	char number[PRINT_NUMBER_SIZE], to[PRINT_ADDRESS_SIZE];
	size_t largest = 0;
	int length;

	for (size_t i = 1; i < unseen->kept; i++)
		if (unseen->destination[i].count > unseen->destination[largest].count)
			largest = i;
	length = snprintf(text, size, "%s%s to %s", before,
			  print_number(number, unseen->destination[largest].count),
			  print_address(to, &unseen->destination[largest].to));
	unseen->destination[largest] = unseen->destination[--unseen->kept];
	return length > 0 && (size_t)length < size ? (size_t)length : size - 1;
}

uint64_t run_unseen_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void run_unseen_describe(char *ret_text, size_t size, uint64_t began_ns)
{
	const struct model_options options = {
	    .states = KERNEL_STATE(TCP_TIME_WAIT) | KERNEL_STATE(TCP_LISTEN),
	    .owners_only = true,
	};
	struct unseen unseen = {.kept = 0};
	struct model *model = NULL;
	char error[PRINT_ERROR_SIZE], number[PRINT_NUMBER_SIZE];
	size_t used;

	/* The clock is read after the table: building the model may take as long as the
	 * command's first connection did. */
	if (model_build(&model, &options, error, sizeof(error)) == 0)
		count_sockets(&unseen, model,
			      (run_unseen_now() - began_ns) / 1000000 + ROUNDED_MS);
	model_free(model);
	used = (size_t)snprintf(
	    ret_text, size,
	    "meanwhile %s TIME_WAIT %s without an owner appeared, of whatever program",
	    print_number(number, unseen.count),
	    print_plural(unseen.count, "socket", "sockets"));
	for (unsigned i = 0; i < NAMED && unseen.kept && used < size; i++)
		used +=
		    name_largest(&unseen, ret_text + used, size - used, i ? ", " : ": ");
	if (unseen.kept && used < size)
		snprintf(ret_text + used, size - used, ", and others");
}
