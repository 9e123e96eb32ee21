/* SPDX-License-Identifier: MIT
 *
 * The script, module or class in a command line. One row per interpreter says which of
 * its options take a value, which hold code, and which name what is run.
 */
#include <string.h>

#include "shim/shared/match.h"
#include "shim/shared/names.h"

/* The lists hold words with a blank before and after each. */
struct interpreter {
	const char *exe;    /* glob on the base name of the executable */
	const char *value;  /* options whose value is the next word */
	const char *code;   /* options that say that there is no script */
	const char *script; /* options whose value is the script, module or class */
	const char *before; /* words that may stand before the script */
	/* Short options can share one dash, as in -um MODULE, except that after these
	 * letters the value follows in the same word; NULL: they cannot. */
	const char *attached;
};

static const struct interpreter interpreters[] = {
    {"python*", " -W -X --check-hash-based-pycs ", " -c - ", " -m ", "", ""},
    {"pypy*", " -W -X --jit ", " -c - ", " -m ", "", ""},
    {"node*",
     " -r --require --import --loader --experimental-loader -C --conditions --title "
     "--icu-data-dir --openssl-config --watch-path ",
     " -e --eval -p --print -pe -i - ", "", " inspect ", NULL},
    {"nodejs*", " -r --require --import --loader -C --conditions --title ",
     " -e --eval -p --print -pe -i - ", "", " inspect ", NULL},
    {"bun", " -r --preload --cwd --config -c ", " -e --eval -p --print - ", "", " run ",
     NULL},
    {"deno", " -c --config --import-map --lock --cert ", " eval repl - ", "",
     " run serve test ", NULL},
    {"java",
     " -cp -classpath --class-path -p --module-path --add-modules --add-opens "
     "--add-exports --add-reads --limit-modules --upgrade-module-path --patch-module "
     "--source --enable-native-access ",
     " -version --version -help --help ", " -jar -m --module ", "", NULL},
    {"php-cgi*", " -d -c -z -b -T ", "", " -f --file ", "", NULL},
    {"php*", " -d -c -z -t -S --define --php-ini --zend-extension --docroot --server ",
     " -r -B -R -E -a --run - ", " -f --file -F --process-file ", "", NULL},
    {"perl*", " -I ", " -e -E - ", "", "", "MmFDV"},
    {"ruby*", " -I -r -C -E ", " -e - ", "", "", "WKT"},
    {"jruby*", " -I -r -C -E ", " -e - ", "", "", "WKTJ"},
    {"lua*", " -l ", " -e - ", "", "", NULL},
    {"luajit*", " -l -j ", " -e - ", "", "", NULL},
    {"*[bd]ash", " -o -O +o +O --rcfile --init-file ", " -c -s - ", "", "", ""},
    {"*[kz]sh*", " -o -O +o +O ", " -c -s - ", "", "", ""},
    {"sh", " -o +o ", " -c -s - ", "", "", ""},
    {"tclsh*", " -encoding ", " - ", "", "", NULL},
    {"mono-sgen", " --config --runtime ", "", "", "", NULL},
    {"mono*", " --config --runtime ", "", "", "", NULL},
    {"dotnet",
     " --additionalprobingpath --depsfile --runtimeconfig --fx-version --roll-forward ",
     "", "", " exec ", NULL},
};

#define INTERPRETERS (sizeof(interpreters) / sizeof(interpreters[0]))

/* The words of a command line that are still to be looked at. */
struct words {
	const char *at;
	const char *end;
};

struct word {
	const char *text; /* NULL: there is none */
	size_t length;
};

static struct word next_word(struct words *words)
{
	struct word ret = {NULL, 0};
	const char *nul;

	if (words->at >= words->end)
		return ret;
	ret.text = words->at;
	nul = memchr(words->at, '\0', (size_t)(words->end - words->at));
	ret.length = (size_t)((nul ? nul : words->end) - ret.text);
	words->at = nul ? nul + 1 : words->end;
	return ret;
}

static bool is_in(const char *list, struct word word)
{
	for (const char *at = list; word.length && *at; at++) {
		size_t length = strcspn(at, " ");

		if (length == word.length && !memcmp(at, word.text, length))
			return true;
		at += length;
		if (!*at)
			break;
	}
	return false;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static struct word base_of(struct word word)
{
	while (word.length > 1 && word.text[word.length - 1] == '/')
		word.length--;
	for (size_t i = word.length; i-- > 0;)
		if (word.text[i] == '/')
			return (struct word){word.text + i + 1, word.length - i - 1};
	return word;
}

/* What an option asks for: nothing, its value skipped, no script, or its value is one. */
enum meaning { ALONE, VALUE, CODE, SCRIPT };

static enum meaning look_up(const struct interpreter *interpreter, struct word option)
{
	return is_in(interpreter->script, option)  ? SCRIPT
	       : is_in(interpreter->code, option)  ? CODE
	       : is_in(interpreter->value, option) ? VALUE
						   : ALONE;
}

/* In "-um" the last letter asks for the next word; in "-mhttp" the word itself goes on
 * with the value, which is left in `rest`. */
static enum meaning look_up_bundle(const struct interpreter *interpreter,
				   struct word option, struct word *rest)
{
	for (size_t i = 1; i < option.length; i++) {
		const char letter[2] = {option.text[0], option.text[i]};
		enum meaning meaning =
		    look_up(interpreter, (struct word){letter, sizeof(letter)});

		if (strchr(interpreter->attached, letter[1]))
			break;
		if (meaning == ALONE)
			continue;
		*rest = (struct word){option.text + i + 1, option.length - i - 1};
		return meaning;
	}
	return ALONE;
}

static enum meaning meaning_of(const struct interpreter *interpreter, struct word option,
			       struct word *rest)
{
	enum meaning meaning = look_up(interpreter, option);

	*rest = (struct word){NULL, 0};
	if (meaning != ALONE || !interpreter->attached || option.length < 2 ||
	    option.text[1] == '-')
		return meaning;
	return look_up_bundle(interpreter, option, rest);
}

static bool is_option(struct word word)
{
	return word.length &&
	       (word.text[0] == '-' || word.text[0] == '+' || word.text[0] == '@');
}

/* The word that names what is run; NULL: none does. */
static struct word find_script(const struct interpreter *interpreter, struct words words)
{
	static const struct word none = {NULL, 0};
	struct word word, rest;

	while ((word = next_word(&words)).text) {
		if (word.length == 2 && !memcmp(word.text, "--", 2))
			return next_word(&words);
		if (!is_option(word)) {
			if (is_in(interpreter->code, word))
				return none;
			if (!is_in(interpreter->before, word))
				return word;
			continue;
		}
		switch (meaning_of(interpreter, word, &rest)) {
		case SCRIPT:
			return rest.length ? rest : next_word(&words);
		case CODE:
			return none;
		case VALUE:
			if (!rest.length)
				next_word(&words);
			break;
		default:
			break;
		}
	}
	return none;
}

/* Whether it looks like the name of a file, module or class, and not like code or a
 * setting that an option of which we do not know took as its value. */
static bool is_plausible(struct word word)
{
	for (size_t i = 0; i < word.length; i++)
		if ((unsigned char)word.text[i] < ' ' || word.text[i] == 127 ||
		    strchr("=;(){}\"'`|<>&*?", word.text[i]))
			return false;
	return word.length > 0;
}

/* php-fpm: pool www */
static void set_pool(struct tws_names *names, struct word first)
{
	static const char mark[] = ": pool ", before[] = "php-fpm pool ";
	const size_t length = sizeof(mark) - 1, at = sizeof(before) - 1;

	for (size_t i = 0; i + length < first.length; i++)
		if (!memcmp(first.text + i, mark, length)) {
			memcpy(names->script, before, at);
			tws_names_set(names->script + at, sizeof(names->script) - at,
				      first.text + i + length, first.length - i - length);
			return;
		}
}

/* A program that has written a title over its arguments: "gunicorn: worker [shop]". */
static struct word title_of(struct word first)
{
	const char *colon = memchr(first.text, ':', first.length);

	if (!colon || colon + 1 == first.text + first.length || colon[1] != ' ')
		return (struct word){NULL, 0};
	first.length = (size_t)(colon - first.text);
	return memchr(first.text, ' ', first.length) ? (struct word){NULL, 0} : first;
}

/* "php*" is php with or without a version, as php8.2, and not phpize. */
static bool is_called(const char *pattern, const char *base)
{
	size_t length = strlen(pattern) - 1;

	if (*pattern == '*' || pattern[length] != '*')
		return tws_match_glob(pattern, base);
	return strncmp(pattern, base, length) == 0 &&
	       !base[length + strspn(base + length, "0123456789.-")];
}

static struct word find_run(const char *base, struct word first, struct words words)
{
	struct word title;

	for (size_t i = 0; i < INTERPRETERS; i++) {
		if (!is_called(interpreters[i].exe, base))
			continue;
		title = title_of(first);
		return title.text ? title : find_script(&interpreters[i], words);
	}
	return (struct word){NULL, 0};
}

void tws_names_script(struct tws_names *names, const char *exe, const char *command,
		      size_t length)
{
	struct words words = {command, command + length};
	struct word first = next_word(&words), script;
	const char *base = base_name(exe);

	names->script[0] = '\0';
	if (!first.text)
		return;
	if (tws_match_glob("php*fpm*", base)) {
		set_pool(names, first);
		return;
	}
	script = find_run(base, first, words);
	if (!script.text)
		return;
	script = base_of(script);
	if (is_plausible(script))
		tws_names_set(names->script, sizeof(names->script), script.text,
			      script.length);
}
