# SPDX-License-Identifier: MIT
"""What `make install` brings: it is whole, works where it was moved to, completes in three shells, and
lets other programs read segments."""
import os
import re
import shutil
import subprocess

from harness import ADDRESS, SOURCE

STEPS = ("socket", "connect", "close")


def install(t, prefix="/usr/local"):
    """The root of an installation. Nothing is built again: other tests are running it."""
    root = os.path.join(t.scratch, "root")
    subprocess.run(["make", "-s", "-C", SOURCE, "install", "-o", "all", "-o", "man", "-o", "extras",
                    f"BUILD={os.path.abspath(t.build)}", f"PREFIX={prefix}", f"DESTDIR={root}"],
                   check=True, stdout=subprocess.DEVNULL)
    return root + prefix


def test_every_link_of_the_installed_documents_leads_somewhere(t):
    top = os.path.join(install(t), "share/doc/twshim")
    missing, seen = [], 0
    for path, _, names in os.walk(top):
        for name in names:
            if not name.endswith(".md"):
                continue
            with open(os.path.join(path, name), encoding="utf-8") as file:
                links = re.findall(r"\]\(([^)#:\s]+)[)#]", file.read())
            seen += len(links)
            missing += [(name, link) for link in links
                        if not os.path.exists(os.path.join(path, link))]
    assert not missing and seen > 20, (missing, seen)


def test_a_moved_prefix_works(t):
    moved = os.path.join(t.scratch, "elsewhere")
    os.rename(install(t), moved)
    twshim = os.path.join(moved, "bin/twshim")
    server = t.server()
    shown = t.run(twshim, "env", shim=False).stdout.decode()
    preload = f"{moved}/lib/{os.path.relpath(t.preload, t.build)}"
    assert f"'{preload}'" in shown and os.path.exists(preload), shown
    report = os.path.join(t.scratch, "report.json")
    t.run(twshim, "run", "--json", "-o", report, "--", t.prog("client"), ADDRESS, str(server.port),
          *STEPS, "repeat:3", shim=False)
    with open(report, encoding="utf-8") as file:
        assert t.read_report(file.read())["total"]["established"] == 3


def test_the_public_header_compiles_alone(t):
    include = os.path.join(install(t), "include")
    source = t.file("alone.c", "#include <twshim/segment.h>\n"
                               "int main(void) { return tws_histogram_bound("
                               "TWS_HISTOGRAM_lifetime_seconds, 1) == 0; }\n")
    for compiler in (("cc", "-std=c11"), ("c++", "-x", "c++", "-std=c++17")):
        if shutil.which(compiler[0]):
            subprocess.run([*compiler, "-Wall", "-Wextra", "-Werror", f"-I{include}", "-o",
                            os.path.join(t.scratch, "alone"), source], check=True)
            subprocess.run([os.path.join(t.scratch, "alone")], check=True)
    assert os.listdir(os.path.join(include, "twshim")) == ["segment.h"]


def test_the_example_readers_show_what_the_process_counted(t):
    """Built as their first lines say, with pkg-config; a file that is no segment is refused."""
    prefix = install(t)
    readers = os.path.join(prefix, "share/doc/twshim/docs/readers")
    flags = subprocess.run(["pkg-config", f"--define-variable=prefix={prefix}",
                            f"--define-variable=includedir={prefix}/include", "--cflags", "twshim"],
                           check=True, stdout=subprocess.PIPE,
                           env={**os.environ, "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig"})
    built = os.path.join(t.scratch, "read_segment")
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", *flags.stdout.decode().split(), "-o", built,
                    os.path.join(readers, "read_segment.c")], check=True)
    one, two = t.server(), t.server()
    for server, repeat in ((one, 7), (two, 2)):
        t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, f"repeat:{repeat}")
    segments = [os.path.join(t.dir, name) for name in os.listdir(t.dir) if name.endswith(".seg")]
    expected = sorted(f"{ADDRESS} {server.port} established {n} ended_local_fin {n}"
                      for server, n in ((one, 7), (two, 2)))
    script = os.path.join(readers, "read_segment.py")
    for reader in ((built,), ("/usr/bin/python3", script)):
        lines = [line for segment in segments
                 for line in t.run(*reader, segment, shim=False).stdout.decode().splitlines()]
        assert sorted(lines) == expected, (reader, lines)
        assert t.run(*reader, script, shim=False, status=None).returncode != 0
    for name in os.listdir(readers):
        with open(os.path.join(readers, name), encoding="utf-8") as file:
            assert len(file.readlines()) <= 60, name


# ------------------------------------------------------------------- completions

# What is typed, and what must be offered, or be the only one.
TYPED = (
    ("twshim ser", {"serve"}),
    ("twshim run --qu", {"--quiet"}),
    ("twshim top --color al", {"always"}),
    ("twshim top --sort po", {"ports"}),
    ("twshim policy expl", {"explain"}),
    ("twshim policy explain --ex", {"--exe"}),
    ("twshim doctor --only TW10", {"TW101", "TW109"}),
    ("twshim lab bro", {"brownout"}),
    ("twshim enable --ro", {"--root"}),
    ("twshim policy load thefi", {"thefile.conf"}),
    ("twshim run -- thecomm", {"thecommand"}),
)


def offered(t, shell, command, typed, directory):
    """The words that a shell offers."""
    if shell == "bash":
        script = (f"source {t.build}/completions/twshim.bash; COMP_WORDS=({typed}); "
                  "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _twshim; printf '%s\\n' \"${COMPREPLY[@]}\"")
    else:
        script = f"source {t.build}/completions/twshim.fish; complete -C '{typed}'"
    env = {"PATH": f"{directory}:{os.path.dirname(os.path.abspath(t.twshim))}:{os.environ['PATH']}",
           "HOME": t.scratch}
    result = subprocess.run([command, "--norc" if shell == "bash" else "--no-config", "-c", script],
                            cwd=directory, env=env, check=True, stdout=subprocess.PIPE)
    return {line.split("\t")[0] for line in result.stdout.decode().splitlines()}


def place(t):
    """A folder with a file and a command to complete."""
    directory = os.path.join(t.scratch, "typed")
    os.makedirs(directory)
    for name, mode in (("thefile.conf", 0o644), ("thecommand", 0o755)):
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n")
        os.chmod(path, mode)
    return directory


def check_shell(t, shell):
    """All that is typed, and every option of every command."""
    t.need(shell)
    directory = place(t)
    for typed, words in TYPED:
        found = offered(t, shell, shell, typed, directory)
        assert words <= found and (len(words) > 1 or found == words), (typed, found)
    shown = t.run(t.twshim, "trace", "--help", shim=False).stdout.decode()
    every = set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", shown, re.M))
    assert offered(t, shell, shell, "twshim trace --", directory) == every


def test_bash_completes(t):
    check_shell(t, "bash")


def test_fish_completes(t):
    check_shell(t, "fish")


def test_zsh_completes(t):
    """On a terminal, as there is no other way: a word that can be completed in one way only is."""
    t.need("zsh")
    directory = place(t)
    functions = os.path.join(t.scratch, "functions")
    os.makedirs(functions)
    shutil.copy(os.path.join(t.build, "completions/twshim.zsh"), os.path.join(functions, "_twshim"))
    script = t.file("type.zsh", f"""
        zmodload zsh/zpty
        zpty typed 'zsh -f -i'
        zpty -w typed "PS1=; fpath=({functions} \\$fpath); autoload -Uz compinit; compinit -u -D"
        zpty -w typed 'show() {{ print -r -- "<$BUFFER>"; zle kill-whole-line }}; zle -N show'
        zpty -w typed "bindkey '^I' complete-word; bindkey '^X' show; unsetopt zle_bracketed_paste; print ready"
        zpty -r -m typed line '*ready*ready*'
        for word in "$@"; do
            zpty -w -n typed "$word"$'\\t'$'\\x18'
            zpty -r -m typed line '*<*>*'
            print -r -- "${{${{line##*<}}%%>*}}"
        done
        zpty -d typed
    """)
    typed = [(line, *words) for line, words in TYPED if len(words) == 1]
    env = {"PATH": f"{directory}:{os.path.dirname(os.path.abspath(t.twshim))}:{os.environ['PATH']}",
           "HOME": t.scratch, "TERM": "xterm"}
    result = subprocess.run(["zsh", "-f", script, *(line for line, _ in typed)], cwd=directory,
                            env=env, check=True, stdout=subprocess.PIPE, timeout=60)
    # An option that takes a value is completed with the "=" before it.
    lines = [line.rstrip(" =") for line in result.stdout.decode().splitlines()]
    expected = [line.rsplit(" ", 1)[0] + " " + word for line, word in typed]
    assert lines == expected, [pair for pair in zip(lines, expected) if pair[0] != pair[1]]
