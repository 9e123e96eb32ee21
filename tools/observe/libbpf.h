/* SPDX-License-Identifier: MIT
 *
 * libbpf, loaded only when an observer needs it, so that other commands do not depend on
 * it. Its functions are declared here, so that everything builds without its headers.
 */
#ifndef TWS_TOOLS_OBSERVE_LIBBPF_H
#define TWS_TOOLS_OBSERVE_LIBBPF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bpf_object;
struct bpf_program;
struct bpf_map;
struct bpf_link;
struct ring_buffer;

typedef int (*libbpf_sample)(void *data, void *record, size_t size);
typedef int (*libbpf_print)(int level, const char *format, va_list arguments);

/* FUNCTION(returns, name, (parameters)): the functions that we use, as in libbpf 1.0. */
#define LIBBPF(FUNCTION)                                                                 \
	FUNCTION(struct bpf_object *, bpf_object__open_mem,                              \
		 (const void *object, size_t size, const void *options))                 \
	FUNCTION(int, bpf_object__load, (struct bpf_object * object))                    \
	FUNCTION(void, bpf_object__close, (struct bpf_object * object))                  \
	FUNCTION(struct bpf_program *, bpf_object__find_program_by_name,                 \
		 (const struct bpf_object *object, const char *name))                    \
	FUNCTION(struct bpf_map *, bpf_object__find_map_by_name,                         \
		 (const struct bpf_object *object, const char *name))                    \
	FUNCTION(struct bpf_map *, bpf_object__next_map,                                 \
		 (const struct bpf_object *object, const struct bpf_map *before))        \
	FUNCTION(int, bpf_program__set_autoload,                                         \
		 (struct bpf_program * program, bool autoload))                          \
	FUNCTION(struct bpf_link *, bpf_program__attach, (const struct bpf_program *))   \
	FUNCTION(struct bpf_link *, bpf_program__attach_cgroup,                          \
		 (const struct bpf_program *, int cgroup))                               \
	FUNCTION(int, bpf_link__destroy, (struct bpf_link * link))                       \
	FUNCTION(const char *, bpf_map__name, (const struct bpf_map *map))               \
	FUNCTION(int, bpf_map__fd, (const struct bpf_map *map))                          \
	FUNCTION(int, bpf_map__set_max_entries, (struct bpf_map * map, uint32_t most))   \
	FUNCTION(void *, bpf_map__initial_value, (struct bpf_map * map, size_t * size))  \
	FUNCTION(int, bpf_map_lookup_elem, (int fd, const void *key, void *value))       \
	FUNCTION(int, bpf_map_update_elem,                                               \
		 (int fd, const void *key, const void *value, uint64_t flags))           \
	FUNCTION(int, bpf_map_delete_elem, (int fd, const void *key))                    \
	FUNCTION(int, bpf_map_get_next_key, (int fd, const void *key, void *next))       \
	FUNCTION(int, bpf_map_lookup_batch,                                              \
		 (int fd, void *in, void *out, void *keys, void *values,                 \
		  uint32_t *count, const void *options))                                 \
	FUNCTION(struct ring_buffer *, ring_buffer__new,                                 \
		 (int fd, libbpf_sample sample, void *data, const void *options))        \
	FUNCTION(int, ring_buffer__epoll_fd, (const struct ring_buffer *ring))           \
	FUNCTION(int, ring_buffer__consume, (struct ring_buffer * ring))                 \
	FUNCTION(void, ring_buffer__free, (struct ring_buffer * ring))                   \
	FUNCTION(libbpf_print, libbpf_set_print, (libbpf_print print))

#define FUNCTION(returns, name, parameters) returns(*name) parameters;
struct libbpf {
	LIBBPF(FUNCTION)
};
#undef FUNCTION

/* Valid after it was loaded. */
extern struct libbpf libbpf;

/* Loads it once. Returns 0, or -ENOENT with a one-line reason and its cure. */
int libbpf_load(char *ret_error, size_t size);

/* Opens an object in memory. NULL: errno says why. */
struct bpf_object *libbpf_open(const char *object, const char *end);

/* Sets the constants of its programs, which are in a map of their own until they are
 * loaded. 0, or -EINVAL if they take less than `size` bytes. */
int libbpf_set_constants(const struct bpf_object *object, const void *value, size_t size);

/* The descriptor of a loaded map; -1: there is none of that name. */
int libbpf_map(const struct bpf_object *object, const char *name);

/* Says why the kernel refused (-errno), and what to use instead. */
void libbpf_explain(char *ret_error, size_t size, int error);

#endif
