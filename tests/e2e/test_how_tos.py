# SPDX-License-Identifier: MIT
"""What CONTRIBUTING and docs/ tell a developer: the paths that they name, and what tests/run and
the harness say when something is wrong."""
import os
import re
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("shim", "config", "tools", "tests", "docs", "man", ".ci")


def documents():
    """Every Markdown file of the tree, with its text."""
    listed = subprocess.run(["git", "-C", TOP, "ls-files", "*.md"], stdout=subprocess.PIPE,
                            check=True).stdout.decode().split()
    for path in listed:
        with open(os.path.join(TOP, path), encoding="utf-8") as file:
            yield path, file.read()


def named_paths(path, text):
    """Files and folders that a document names: in backquotes below a folder of the tree, and as
    the target of a link."""
    for word in re.findall(r"`([^`\s]+)`", text):
        if word.split("/")[0] in FOLDERS and "/" in word:
            yield word
        elif re.fullmatch(r"[\w*./]*[\w*]\.(c|h|def|py|awk|mk|golden)", word):
            yield f"**/{word}"
    for link in re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'\bsrc="([^"]+)"', text):
        if not re.match(r"\w+:", link):
            yield os.path.normpath(os.path.join(os.path.dirname(path), link))


def exists(path):
    """Whether it exists: as written, or with NAME, * and {a,b} as patterns."""
    pattern = re.sub(r"NAME|\*", "*", path)
    alternatives = [pattern]
    braces = re.search(r"\{([^}]+)\}|\[([a-z]+)\]", pattern)
    if braces:
        parts = braces[1].split(",") if braces[1] else list(braces[2])
        alternatives = [pattern.replace(braces[0], part) for part in parts]
    listed = subprocess.run(["git", "-C", TOP, "ls-files", "-co", "--exclude-standard", "--",
                             *[f":(glob){a.rstrip('/')}" for a in alternatives],
                             *[f":(glob){a.rstrip('/')}/**" for a in alternatives]],
                            stdout=subprocess.PIPE, check=True).stdout.decode().split()
    return bool(listed)


def test_every_path_that_a_document_names_exists(t):
    named = [(d, p) for d, text in documents() for p in set(named_paths(d, text))]
    assert any(d == "CONTRIBUTING.md" for d, _ in named), named
    missing = sorted(f"{d} names {p}" for d, p in named if not exists(p))
    assert not missing, "\n".join(missing)


def tests_run(t, *arguments):
    """What tests/run prints with these arguments, which must fail: its output."""
    result = t.run(os.path.join(TOP, "tests", "run"), *arguments, shim=False, status=1)
    return result.stdout.decode()


def test_a_run_of_a_build_that_does_not_exist_says_what_to_make(t):
    said = tests_run(t, "unit", "--build", f"{t.scratch}/none")
    assert "no test ran" in said and "none/unit is not built: run make tests" in said, said


def test_a_pattern_that_matches_no_name_is_named(t):
    said = tests_run(t, "unit", "--build", t.build, "-k", "no such test")
    assert "no test ran: no name in unit matches no such test" in said, said


def test_a_pattern_matches_a_name_as_the_results_print_it(t):
    run = os.path.join(TOP, "tests", "run")
    for pattern in ("test_layout: a whole header", "a whole header is a segment",
                    "test_layout.a_whole_header"):
        result = t.run(run, "unit", "--build", t.build, "-k", pattern, shim=False)
        said = result.stdout.decode()
        assert said.endswith("\n1 passed, 0 failed\n"), f"{pattern}: {said}"


def test_a_source_that_is_newer_than_what_is_built_is_named(t):
    os.utime(t.file("libtwshim.so", ""), (0, 0))
    said = tests_run(t, "e2e", "--build", t.scratch, "-k", "no such test")
    assert re.search(r"warning: shim/\S+ is newer than \S+/libtwshim.so: run make tests", said), \
        said


def test_a_command_that_fails_is_printed_and_gdb_for_one_that_a_signal_killed(t):
    for script, words in (("exit 3", ("status 3, not 0",)),
                          ("kill -SEGV $$", ("SIGSEGV", "gdb -ex ", "-ex backtrace --args sh"))):
        try:
            t.run("sh", "-c", script, "zero")
        except AssertionError as error:
            said = str(error)
        for word in words + (f"LD_PRELOAD={t.library}", f"sh -c '{script}' zero"):
            assert word in said, f"{word} is not in: {said}"


def test_every_rule_that_the_readme_shows_is_accepted(t):
    """-p 'RULE' and --experiment 'RULE'."""
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as file:
        found = re.findall(r"(?:-p|--experiment) '([^']+)'", file.read())
    assert len(found) >= 6, found
    for rule in found:
        t.run(t.twshim, "policy", "check", "-p", rule, shim=False)
