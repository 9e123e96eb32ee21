# SPDX-License-Identifier: MIT
"""The same tests with programs that are built in another way: for another C library, or for
32 bits. The Makefile builds tests/progs once more where the compiler is there."""
import os

from harness import ADDRESS, Skip
from test_watch import MANY, STEPS


def repeat(target, kind, *modules):
    """Puts the tests of `modules` into the dictionary of the module `target`, each with the
    programs of build/tests-KIND. Those of Python's own sockets would be the same again."""
    for module in modules:
        for name, test in list(vars(module).items()):
            if name.startswith("test_") and "executable" not in test.__code__.co_names:
                repeated = _with_programs(kind, test)
                repeated.__module__ = target["__name__"]
                repeated.__name__ = f"{name}__{kind}"
                target[repeated.__name__] = repeated


def _with_programs(kind, test):
    def repeated(t):
        use(t, kind)
        test(t)
    if hasattr(test, "options"):
        repeated.options = test.options
    return repeated


def use(t, kind):
    """From here on, t.prog() names the programs of this kind."""
    programs = os.path.join(t.build, f"tests-{kind}")
    if not os.path.isdir(programs):
        raise Skip(f"{programs} was not built: its compiler is not here")
    t.programs = programs
    if kind == "i386":
        t.library = t.preload


def observed_by(report):
    """How many processes the shim observed; nothing else observed any."""
    for app in report["apps"]:
        assert app["observed_by"]["bpf"] == app["observed_by"]["supervisor"] == 0, app
    return sum(a["observed_by"]["shim"] for a in report["apps"])


def run_is_exact(t, kind):
    """`run` counts a client of this kind by the shim, and says nothing of it."""
    use(t, kind)
    server = t.server()
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *STEPS, f"repeat:{MANY}")
    assert t.result.stderr == b"", t.result
    assert observed_by(report) == 1
    t.counters(report, attempts=MANY, established=MANY, ended_local_fin=MANY, short_lived=MANY)
    assert t.accounted(report, server)["ended_local_fin"] == MANY
