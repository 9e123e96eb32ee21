/* SPDX-License-Identifier: MIT
 *
 * The laboratory: controlled experiments on this kernel. An experiment is a list of
 * cases. A case is a world (a network namespace of its own with the sysctls and the
 * address it asks for, or two with a link between them), a server, a client and at most
 * one rule. The client is this very executable, run anew with the shim preloaded and the
 * rule compiled into a run-time directory of its own: what is tested is the product.
 * What client, server and kernel saw comes back on the case's board, in shared memory.
 */
#ifndef TWS_TOOLS_LAB_H
#define TWS_TOOLS_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/shared/segment.h"

#define LAB_ADDRESS	   "10.199.0.1" /* on lo; not 127/8, which tcp_tw_reuse=2 exempts */
#define LAB_TW_PORTS	   20		/* in the port range of most experiments: */
#define LAB_TW_RANGE	   "40000 40019"
#define LAB_LINK_CLIENT	   "10.198.0.1"
#define LAB_LINK_SERVER	   "10.198.0.2"
#define LAB_PORT	   7000 /* of the server, and those that follow */
#define LAB_PORTS	   8
#define LAB_SYSCTLS	   6
#define LAB_REASON	   200
#define LAB_CONNECTION_MAX 32768

/* ------------------------------------------------------------------- a case */

/* A file below /proc/sys/net/ipv4/, and the value to write to it. */
struct lab_sysctl {
	const char *name;
	const char *value;
};

struct lab_world {
	bool loopback;	       /* 127.0.0.1 in place of LAB_ADDRESS */
	unsigned delay_ms;     /* one way; not 0: two namespaces, a link */
	unsigned loss_percent; /* of packets, each way; with delay only */
	uint32_t seed;	       /* of the losses */
	struct lab_sysctl sysctl[LAB_SYSCTLS]; /* up to the first without a name */
};

enum lab_server_flag {
	LAB_SERVER_CLOSES_FIRST = 1u << 0, /* at once */
	LAB_SERVER_SHUTS_FIRST = 1u << 1,  /* shutdown(SHUT_WR) at once, then reads on */
	LAB_SERVER_SENDS = 1u << 2,	   /* one kilobyte at once */
	LAB_SERVER_HOLDS = 1u << 3,	   /* never closes */
	LAB_SERVER_GIVES_UP =
	    1u << 4, /* at POLLERR it gives up, and loses what it has not read */
	LAB_SERVER_LOOKS = 1u << 5, /* reads only after the client's close; lab_look */
};

struct lab_server {
	unsigned flags;
	unsigned ports;	   /* consecutive; 0: one */
	unsigned window;   /* SO_RCVBUF; 0: the kernel's */
	unsigned chunk;	   /* bytes read a tick; 0: all that is there, at once */
	unsigned tick_ms;  /* with chunk */
	unsigned start_ms; /* from accept to the first look at what came */
};

enum lab_client_flag {
	LAB_CLIENT_LINGER = 1u << 0,	  /* SO_LINGER {1, linger_seconds} */
	LAB_CLIENT_REUSEADDR = 1u << 1,	  /* SO_REUSEADDR */
	LAB_CLIENT_BINDS = 1u << 2,	  /* bind(address, 0) before connect */
	LAB_CLIENT_NO_PORT = 1u << 3,	  /* IP_BIND_ADDRESS_NO_PORT */
	LAB_CLIENT_AWAITS_END = 1u << 4,  /* reads to the peer's FIN before it goes on */
	LAB_CLIENT_AWAITS_DATA = 1u << 5, /* closes with bytes unread */
	LAB_CLIENT_AWAITS_ACK = 1u << 6,  /* closes when all it sent is acknowledged */
	LAB_CLIENT_SHUTS_WRITE = 1u << 7, /* shutdown(SHUT_WR) before close */
	LAB_CLIENT_PORT_RANGE = 1u << 8,  /* IP_LOCAL_PORT_RANGE: low, high */
	LAB_CLIENT_LEAVES_OPEN = 1u << 9, /* exits with the socket open */
};

struct lab_client {
	unsigned flags;
	unsigned count;	  /* connections */
	unsigned threads; /* 0: one */
	unsigned linger_seconds;
	unsigned bytes;		  /* to send; as many as the kernel takes at once */
	unsigned per_destination; /* connections to a port before the next; 0: one port */
	/* Connections between pauses; 0: no pauses. A pause lasts until all of them are
	 * in TIME_WAIT or gone, and then pause_ms. */
	unsigned per_pass;
	unsigned pause_ms;
	uint16_t low, high; /* of LAB_CLIENT_PORT_RANGE */
};

/* The outcome of one connection, as the client saw it. */
struct lab_connection {
	int32_t error; /* errno of connect(); -1: not tried */
	uint32_t sent;
	uint64_t connect_ns;
	uint64_t close_ns;
};

/* What the server's readers saw. */
struct lab_seen {
	uint64_t accepted;
	uint64_t bytes;
	uint64_t ended; /* clean EOF */
	uint64_t reset; /* ECONNRESET */
	uint64_t hung;	/* nothing more came, and no end */
};

/* On how many sockets a call failed, and with which errno the last time. */
struct lab_failures {
	uint32_t calls, failed;
	int32_t error;
};

/* What the server's sockets show after the client's close(), while still open. */
struct lab_look {
	uint32_t sockets, hup, err; /* of the sockets, those with POLLHUP, POLLERR */
	uint32_t bytes;
	struct lab_failures name; /* getpeername() */
	/* SO_ERROR is read on every second socket, which clears the error; the others
	 * are read to the end, and then written to. */
	struct lab_failures so_error, reader, writer;
};

/* In shared memory: the client maps it by a descriptor that it inherits. */
struct lab_board {
	struct lab_client client;
	char address[16]; /* of the server */
	char source[16];  /* of the client */
	uint32_t port;
	int32_t parent; /* of the client: the case's process */

	uint32_t next; /* atomic; of the client's threads */
	uint32_t
	    client_done; /* atomic; how many connections were established, plus one */
	struct lab_seen seen;
	struct lab_look look;
	struct {
		uint64_t here;		/* of the client, after all */
		uint64_t there;		/* of the server */
		uint32_t leaves_ms;	/* until the newest of ours goes */
		uint32_t still_closing; /* FIN_WAIT and the like, after waiting */
	} time_wait;
	struct {
		uint64_t syn_retransmitted; /* TcpExt TCPSynRetrans */
		uint64_t overflows;	    /* TcpExt TCPTimeWaitOverflow */
	} kernel;
	struct tws_counters shim; /* total of the client's segment */
	uint64_t figure[8];	  /* what a body found; its own business */
	char failure[LAB_REASON]; /* why the case could not be run; "": it was */
	struct lab_connection connection[];
};

struct lab_case {
	const char *name;  /* of the row */
	const char *group; /* of the table; NULL: the only one */
	struct lab_world world;
	struct lab_server server;
	struct lab_client client;
	const char *rule; /* one line of policy; NULL: none */
	/* Runs in place of client and server, inside the world. Returns 0, or -errno
	 * with a reason on the board. */
	int (*body)(const struct lab_case *what, struct lab_board *board);
	unsigned patience_ms; /* for the whole case; 0: 20 s */
	struct lab_board *board;
};

/* ---------------------------------------------------------------- the bench */

/* Where experiments are run; there is one per `twshim lab`. */
struct lab_bench {
	char library[1024];
	char directory[64]; /* on tmpfs; each case has a run-time directory below it */
	bool progress;	    /* show progress on stderr */
	bool interrupted;   /* interrupted by a signal: start no more cases */
	unsigned cases_run;
};

/* Returns 0, or -errno with a one-line reason. */
int lab_bench_open(struct lab_bench *ret_bench, char *ret_error, size_t size);
void lab_bench_close(struct lab_bench *bench);

/* Runs all cases, at most `parallel` at once, and fills in their boards (free with
 * lab_cases_free()). `title` is for the progress line. A case that could not be run says
 * so on its board, or has none if it was never started. After an interruption that is
 * so for all that did not end, and the result is still 0; otherwise -errno. */
int lab_run(struct lab_bench *bench, struct lab_case *cases, size_t count,
	    unsigned parallel, const char *title);
void lab_cases_free(struct lab_case *cases, size_t count);

/* Removes the directory at `path` and what is in it. */
void lab_remove_directory(const char *path);

/* ------------------------------------------- inside a case, in its own process */

/* Where the parts of a case are. */
struct lab_place {
	int client_ns, server_ns; /* descriptors; the same where there is no link */
	int forwarder;		  /* pid; 0: none */
	const char *address;	  /* of the server */
	const char *source;	  /* of the client */
};

/* Makes the world of a case and leaves this process in the server's namespace. It
 * changes its process for good, so call it in a process of its own. Returns 0, or
 * -errno with a one-line reason. */
int lab_world_enter(const struct lab_world *world, struct lab_place *ret_place,
		    char *ret_error, size_t size);

/* Writes to a file below /proc/sys/net/ipv4/. 0 or -errno. */
int lab_sysctl_write(const char *name, const char *value);

/* Makes two TUN devices and the process between them, which passes packets from each
 * to the other, late, and loses some. Called in the client's namespace; leaves this
 * process in the server's. Returns 0, or -errno with a reason. */
int lab_tun_join(const struct lab_world *world, struct lab_place *place, char *ret_error,
		 size_t size);

/* Listens. Returns 0 with the sockets in `ret_fds`, or -errno. */
int lab_server_listen(const struct lab_server *server, const char *address,
		      int ret_fds[LAB_PORTS]);

/* Serves until the client is done and all its connections have ended, or nothing has
 * happened for `hang_ms` since it was done. */
void lab_server_run(const struct lab_server *server, const int fds[LAB_PORTS],
		    struct lab_board *board, unsigned hang_ms);

/* Looks at a connection of the server's after the client's close(). Even `index`:
 * SO_ERROR; odd: reads and writes. */
void lab_look_at(struct lab_look *look, int fd, uint32_t index);

/* The whole life of the client. `fd` is the descriptor of the board. Returns the exit
 * status. */
int lab_client_main(int fd);

/* Runs one case from beginning to end, in its own process. */
void lab_case_perform(const struct lab_bench *bench, const struct lab_case *what,
		      struct lab_board *board, int board_fd, unsigned number);

/* A counter of /proc/net/netstat, from "TcpExt" or "IpExt"; 0 if there is none. */
uint64_t lab_netstat(const char *name);

/* Waits for at most `patience_ms` until no connection of the server's ports is
 * closing, and counts TIME_WAIT on both sides. Called in the client's namespace. */
void lab_count_time_wait(struct lab_board *board, unsigned patience_ms);

/* Waits for at most `patience_ms` until every FIN of the client is acknowledged, or also
 * until the server has closed. */
void lab_await_fins(struct lab_board *board, unsigned patience_ms);
void lab_await_closed(struct lab_board *board, unsigned patience_ms);

/* -------- child.c: the processes of a case */

void lab_sleep_ms(unsigned ms);

/* Forks a child that ends when its parent does. Returns what fork() returns. */
pid_t lab_fork(void);

/* Kills the child and reaps it, if there is one. *child becomes 0. */
void lab_end_child(pid_t *child);

/* Waits for a child until the time is up, and then kills it. *child becomes 0, because
 * its pid may then be another process's. Returns its wait status, or -1 if it was
 * killed. */
int lab_await_child(pid_t *child, uint64_t until_ns);

/* Makes this process end when its parent does. `parent` is getpid() before the fork:
 * if the parent has ended by now, no signal will come. */
void lab_die_with_parent(pid_t parent);

#endif
