/* SPDX-License-Identifier: MIT
 *
 * The view on a terminal. lines.c makes everything that is drawn; this file handles keys
 * and positions.
 */
#include <errno.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <ncurses.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shim/shared/clock.h"
#include "tools/base/cli.h"
#include "tools/base/print.h"
#include "tools/top/top.h"

#define HEAD 2 /* lines above the rows */

enum { PAIR_YELLOW = 1, PAIR_RED };

struct screen {
	struct top *top;
	struct top_view *view;
	size_t chosen, first; /* indexes of rows */
	uint64_t key;	      /* of the chosen row, wherever it moves; 0: the first row */
	uint64_t left_key;    /* the row that was chosen in the view before */
	bool ascii, colored, paused, help, asking, done;
	size_t left_first; /* first row before one row was shown alone */
};

static volatile sig_atomic_t ended;

static void end(int number)
{
	ended = 1;
}

static const char *const HELP[] = {
    "a p d    applications, processes, destinations",
    "s        next order: time-wait, rate, open, opened, ports, name",
    "/        show only rows that contain a text; Enter ends the input",
    "Enter    an application's destinations, or all counters of a row;",
    "         Esc goes back",
    "Space    pause           arrows, PgUp, PgDn, Home, End  move",
    "q        leave           h  this help, any key ends it",
    "",
    "SHORT    share that lived less than short_lived_ms",
    "FIRST    share closed by us first, which leaves TIME_WAIT here, or by policy",
    "PEER     share closed by the peer first",
    "RESET    share ended by a reset that no policy caused",
    "FAILED   connects that failed",
    "PORTS    ephemeral ports in use to the fullest destination",
};

/* ---------------------------------------------------------------------- drawing */

static int visible(void)
{
	return LINES > HEAD + 1 ? LINES - HEAD - 1 : 0;
}

static void draw_help(void)
{
	for (int i = 0; i < (int)(sizeof(HELP) / sizeof(*HELP)); i++)
		mvaddnstr(HEAD + i, 0, HELP[i], COLS);
}

/* Finds the chosen row, which may have moved. */
static void find_chosen(struct screen *screen)
{
	const struct top *top = screen->top;

	for (size_t i = 0; screen->key && i < top->count; i++)
		if (top->rows[i].key == screen->key)
			screen->chosen = i;
}

/* From half full on, connect() slows down; the alerts in docs/fleet.md use the same
 * limits. */
static attr_t attributes(const struct screen *screen, const struct top_row *row)
{
	double fill = row->ports_range ? (double)row->ports_used / row->ports_range : 0;
	attr_t found = row->dead ? A_DIM : A_NORMAL;

	if (screen->colored && fill >= 0.5)
		found |= COLOR_PAIR(fill >= 0.8 ? PAIR_RED : PAIR_YELLOW);
	return found;
}

static void draw_rows(struct screen *screen)
{
	const struct top *top = screen->top;
	char line[TOP_LINE_SIZE];

	find_chosen(screen);
	if (screen->chosen >= top->count)
		screen->chosen = top->count ? top->count - 1 : 0;
	if (screen->chosen < screen->first)
		screen->first = screen->chosen;
	if (screen->chosen >= screen->first + (size_t)visible())
		screen->first = screen->chosen + 1 - (size_t)visible();
	for (int i = 0; i < visible() && screen->first + (size_t)i < top->count; i++) {
		size_t row = screen->first + (size_t)i;

		attrset(row == screen->chosen ? A_REVERSE
					      : attributes(screen, &top->rows[row]));
		mvaddstr(
		    HEAD + i, 0,
		    top_line(line, &top->rows[row], screen->view, COLS, screen->ascii));
		attrset(A_NORMAL);
	}
	if (!top->count)
		mvaddnstr(HEAD, 0,
			  screen->view->alone
			      ? "this row has gone: Esc goes back"
			      : "nothing yet: start a program with `twshim run`",
			  COLS);
}

/* Draws the counters below the single row. */
static void draw_detail(const struct screen *screen)
{
	char line[TOP_LINE_SIZE];

	for (int i = 0; screen->top->count && HEAD + 2 + i < LINES - 1; i++) {
		if (!top_detail(line, &screen->top->rows[0], (unsigned)i, COLS))
			break;
		mvaddstr(HEAD + 2 + i, 0, line);
	}
}

static void draw_foot(const struct screen *screen)
{
	const struct top_view *view = screen->view;
	char foot[256];

	snprintf(foot, sizeof(foot), "%s%s by %s, order %s%s%s%s%s",
		 screen->paused ? "[paused] " : "", *view->within ? view->within : "all",
		 top_mode_names[view->mode], top_sort_names[view->sort],
		 *view->filter || screen->asking ? ", only /" : "", view->filter,
		 screen->asking ? "_" : "", screen->asking ? "" : "   h help  q leave");
	attron(A_DIM);
	mvaddnstr(LINES - 1, 0, foot, COLS > 0 ? COLS - 1 : 0);
	attrset(A_NORMAL);
}

static void draw(struct screen *screen)
{
	char line[TOP_LINE_SIZE];

	erase();
	mvaddnstr(0, 0, top_summary(line, screen->top), COLS);
	attron(A_BOLD);
	mvaddnstr(1, 0, top_titles(line, screen->view, COLS), COLS);
	attrset(A_NORMAL);
	if (screen->help)
		draw_help();
	else if (visible())
		draw_rows(screen);
	if (screen->view->alone && !screen->help)
		draw_detail(screen);
	draw_foot(screen);
	refresh();
}

/* ------------------------------------------------------------------------- keys */

/* Returns true if the rows must be made anew. */
static bool set_mode(struct screen *screen, enum top_mode mode)
{
	screen->view->mode = mode;
	screen->view->alone = 0;
	screen->chosen = screen->first = 0;
	screen->key = 0;
	return true;
}

static bool enter(struct screen *screen)
{
	struct top_view *view = screen->view;

	if (view->alone || screen->chosen >= screen->top->count)
		return false;
	if (view->mode != TOP_APPS) {
		view->alone = screen->key = screen->top->rows[screen->chosen].key;
		screen->left_first = screen->first;
		return true;
	}
	screen->left_key = screen->top->rows[screen->chosen].key;
	snprintf(view->within, sizeof(view->within), "%s",
		 screen->top->rows[screen->chosen].app);
	return set_mode(screen, TOP_DESTINATIONS);
}

static bool leave(struct screen *screen)
{
	if (screen->view->alone) {
		screen->view->alone = 0;
		screen->first = screen->left_first;
		return true;
	}
	if (!*screen->view->within)
		return false;
	*screen->view->within = '\0';
	set_mode(screen, TOP_APPS);
	screen->key = screen->left_key;
	return true;
}

/* Handles a key while the filter is typed. */
static bool ask(struct screen *screen, int key)
{
	char *filter = screen->view->filter;
	size_t length = strlen(filter);

	if (key == '\n' || key == KEY_ENTER || key == 27)
		screen->asking = false;
	if (key == 27)
		*filter = '\0';
	else if ((key == KEY_BACKSPACE || key == 127 || key == 8) && length)
		filter[length - 1] = '\0';
	else if (key >= ' ' && key < 127 && length + 1 < sizeof(screen->view->filter))
		snprintf(filter + length, 2, "%c", key);
	return true;
}

static void move_by(struct screen *screen, long rows)
{
	long count = (long)screen->top->count, to = (long)screen->chosen + rows;

	if (to >= count)
		to = count - 1;
	screen->chosen = to > 0 ? (size_t)to : 0;
	screen->key = count ? screen->top->rows[screen->chosen].key : 0;
}

static bool press_move(struct screen *screen, int key)
{
	switch (key) {
	case 'k':
	case KEY_UP:
		move_by(screen, -1);
		return false;
	case 'j':
	case KEY_DOWN:
		move_by(screen, 1);
		return false;
	case KEY_HOME:
		move_by(screen, LONG_MIN / 2);
		return false;
	case KEY_END:
		move_by(screen, LONG_MAX / 2);
		return false;
	case KEY_PPAGE:
		move_by(screen, -visible());
		return false;
	case KEY_NPAGE:
		move_by(screen, visible());
		return false;
	case '\n':
	case KEY_ENTER:
		return enter(screen);
	case 27:
	case KEY_BACKSPACE:
		return leave(screen);
	default:
		return false;
	}
}

/* Returns true if the rows must be arranged anew. */
static bool press(struct screen *screen, int key)
{
	if (screen->asking)
		return ask(screen, key);
	if (screen->help) {
		screen->help = false;
		return false;
	}
	switch (key) {
	case 'q':
		screen->done = true;
		return false;
	case 'a':
		*screen->view->within = '\0';
		return set_mode(screen, TOP_APPS);
	case 'p':
		return set_mode(screen, TOP_PROCESSES);
	case 'd':
		return set_mode(screen, TOP_DESTINATIONS);
	case 's':
		screen->view->sort = (screen->view->sort + 1) % TOP_SORTS;
		return true;
	case ' ':
		screen->paused = !screen->paused;
		return false;
	case '/':
		screen->asking = true;
		return false;
	case 'h':
	case '?':
		screen->help = true;
		return false;
	default:
		return press_move(screen, key);
	}
}

/* Looks whenever it is time; between looks, keys rearrange what is known. */
static int run_view(struct screen *screen, double delay)
{
	double due = 0, now;
	int key, result = 0;

	while (!screen->done && !ended && result == 0) {
		now = tws_now_s();
		if (now >= due && !screen->paused) {
			result = top_look(screen->top, screen->view);
			due = now + delay;
		}
		draw(screen);
		timeout(screen->paused || due <= now ? 1000
						     : (int)((due - now) * 1000) + 1);
		key = getch();
		if (key != ERR && key != KEY_RESIZE && press(screen, key))
			result = top_arrange(screen->top, screen->view);
	}
	return result;
}

static void begin_colors(struct screen *screen, enum print_color color)
{
	if (!print_color_wanted(color, stdout) || !has_colors() || start_color() == ERR)
		return;
	use_default_colors();
	init_pair(PAIR_YELLOW, COLOR_YELLOW, -1);
	init_pair(PAIR_RED, COLOR_RED, -1);
	screen->colored = true;
}

int top_screen(struct top *top, struct top_view *view, double delay,
	       enum print_color color)
{
	struct screen screen = {.top = top, .view = view};
	SCREEN *terminal;
	int result;

	if (!top_can_place())
		return cli_fail(
		    CLI_FAILURE,
		    "top: $TERM is unknown, or cannot position text: use --batch");
	setlocale(LC_CTYPE, "");
	screen.ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal)
		return cli_fail(CLI_FAILURE,
				"top: this terminal ($TERM) is not known: use --batch");
	signal(SIGINT, end);
	signal(SIGTERM, end);
	signal(SIGHUP, end);
	set_escdelay(50);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	begin_colors(&screen, color);
	result = run_view(&screen, delay);
	endwin();
	delscreen(terminal);
	return result == 0 ? 0 : cli_fail(CLI_FAILURE, "top: %s", strerror(-result));
}
