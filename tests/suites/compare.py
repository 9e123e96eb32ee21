# SPDX-License-Identifier: MIT
"""Sets runs of the same unit side by side, and says what is the same, flaky or different.

verdicts()  of one unit, running again what differed
summary()   of many; text() and line() for people
"""
import collections

WHOLE_ROUNDS, ALONE_ROUNDS, HUNG_ROUNDS = 3, 10, 10
SLOW_SECONDS = 120
MOST_ALONE = 20  # tests of one unit that are run again alone
STATUS, ENDS = "(exit status)", "(ends in time)"


def count(outcomes):
    """{outcome: how many}, without the unit's own exit status."""
    return dict(collections.Counter(o for t, o in outcomes.items() if t != STATUS))


def hung(run):
    """Whether the unit had to be killed, so that the outcome of its later tests is unknown."""
    return run["outcomes"][STATUS] == "timed out"


def outcome(run, test):
    """A test's outcome, also of a missing test; None if the run hung before it."""
    if test == ENDS:
        return "no" if hung(run) else "yes"
    return run["outcomes"].get(test, None if hung(run) else "absent")


def differing(bare, run):
    """Tests whose outcome is not bare's; the unit's exit status only where it does not follow
    from a test's; where one of the two hung, the tests that both came to."""
    tests = {t for t in {*bare["outcomes"], *run["outcomes"]}
             if outcome(bare, t) != outcome(run, t)}
    if hung(bare) or hung(run):
        tests = {t for t in tests - {STATUS} if outcome(bare, t) and outcome(run, t)}
    tests = tests - {STATUS} or tests
    return sorted(tests | {ENDS} if "no" in bare["ends"] + run["ends"] else tests)


def first(run, test):
    """A test's outcome in a run and the runs before it that hung."""
    return list(run["ends"]) if test == ENDS else [outcome(run, test)]


def again(which, seen, unit, once, slow):
    """Adds further outcomes to {test: {"bare": [], "shimmed": []}}: of the whole unit, and of
    each test alone where that can be."""
    rounds = HUNG_ROUNDS if ENDS in seen else 1 if slow else WHOLE_ROUNDS
    for number in range(rounds):
        if number >= WHOLE_ROUNDS and judge(seen[ENDS]) == "flaky":
            break
        for way, name in (("bare", "bare"), ("shimmed", which)):
            run = once(name, None)
            for test in seen:
                seen[test][way].append(outcome(run, test))
    alone = [t for t in seen if t not in (STATUS, ENDS)][:MOST_ALONE] if unit.narrow else []
    for test in alone:
        runs = [[outcome(once(name, unit.narrow(test)), test) for name in ("bare", which)]
                for _ in range(ALONE_ROUNDS)]
        # If it never is alone what it was among the others, it needs them or can't be run alone,
        # which says nothing about the shim.
        if seen[test]["bare"][0] in [bare for bare, _ in runs]:
            for bare, run in runs:
                seen[test]["bare"].append(bare)
                seen[test]["shimmed"].append(run)


def judge(seen):
    """same outcomes are seen bare: flaky; the difference never came again: once; else differs."""
    bare, shimmed = ([o for o in seen[way] if o] for way in ("bare", "shimmed"))
    if set(shimmed) <= set(bare):
        return "flaky"
    odd = [o for o in shimmed if o not in bare]
    return "once" if len(odd) == 1 and len(shimmed) > 3 else "differs"


def verdicts(runs, unit, once):
    """{"differs", "flaky", "once"}: lists of {"test", "pass", "bare", "shimmed"}, the last two
    with how often each outcome was seen."""
    found = {"differs": [], "flaky": [], "once": []}
    bare = runs["bare"]
    for which, run in runs.items():
        seen = {test: {"bare": first(bare, test), "shimmed": first(run, test)}
                for test in differing(bare, run)} if which != "bare" else {}
        doubtful = {test: one for test, one in seen.items() if judge(one) != "flaky"}
        if doubtful:
            again(which, doubtful, unit, once, bare["seconds"] > SLOW_SECONDS)
        for test, one in seen.items():
            found[judge(one)].append({
                "test": test, "pass": which,
                **{way: dict(collections.Counter(o or "not reached" for o in outcomes))
                   for way, outcomes in one.items()}})
    return found


def line(result):
    """One line per unit."""
    state = "DIFFERS" if result["differs"] else "flaky" if result["flaky"] or result["once"] \
        else "same"
    shim = [s for s in result["shim"].values() if s]
    made = "/".join(str(s.get("counters", {}).get("attempts", 0)) for s in shim)
    return (f"{state:8}{result['suite']}.{result['unit']}: {result['tests']} tests, "
            f"{made} connections, " + "/".join(f"{s:.0f}" for s in result["seconds"].values())
            + " s")


def details(result):
    """One line for each test that is not the same."""
    def said(counts):
        return ", ".join(f"{n} {o}" for o, n in counts.items())
    for kind in ("differs", "flaky", "once"):
        for one in result[kind]:
            yield (f"{kind}: {one['test']} ({one['pass']}): bare {said(one['bare'])}; "
                   f"shimmed {said(one['shimmed'])}")
    for which, shim in result["shim"].items():
        for problem in ("error", "broken_identity"):
            if shim and shim.get(problem):
                yield f"{problem} ({which}): {shim[problem]}"


def unproven(report):
    """What makes a comparison worthless: suites in which the shim was never loaded, and reports
    of the shim that do not add up."""
    found = [f"{name}: the shim was never seen loaded" for name, counts
             in report["suites"].items() if not counts["loaded"]]
    if report["total"]["broken_identities"]:
        found.append(f"{report['total']['broken_identities']} reports do not add up")
    return found


def summary(found, missing):
    """The whole, by suite; `missing`: the suites that could not be had, and why."""
    suites = {}
    for result in found:
        into = suites.setdefault(result["suite"], collections.Counter())
        add(into, result)
    total = collections.Counter()
    for counts in suites.values():
        total.update(counts)
    return {"schema": "twshim.conformance/1", "total": {k: total[k] for k in KEYS},
            "missing": missing,
            "no_tests": [f"{r['suite']}.{r['unit']}: {r['no_tests']}" for r in found
                         if r.get("no_tests")],
            "suites": {name: {k: c[k] for k in KEYS} for name, c in suites.items()},
            "not_the_same": [text for result in found for text in details(result)]}


KEYS = ("units", "tests", "pass", "fail", "skip", "differs", "flaky", "once", "seconds",
        "loaded", "processes", "connections", "would_apply", "broken_identities")


def add(into, result):
    """One unit's numbers, shimmed passes together."""
    shims = [s for s in result["shim"].values() if s]
    into.update({"units": 1, "tests": result["tests"], **result["outcomes"],
                 "seconds": round(sum(result["seconds"].values())),
                 "loaded": all(s["seen_loaded"] or s.get("processes") for s in shims),
                 "processes": sum(s.get("processes", 0) for s in shims),
                 "broken_identities": sum(bool(s.get("broken_identity") or s.get("error"))
                                          for s in shims)})
    for name, counter in (("connections", "attempts"), ("would_apply", "policy_would_apply")):
        into[name] += sum(s.get("counters", {}).get(counter, 0) for s in shims)
    for kind in ("differs", "flaky", "once"):
        into[kind] += len({one["test"] for one in result[kind]})


def text(report):
    """A table, and the line that says it. FAIL: without the shim, so that they prove little; none at all
    in a large suite is a parser that sees none."""
    names = ("units", "tests", "fail", "differs", "flaky", "once", "processes", "connections",
             "would_apply")
    lines = [f"{'SUITE':18}" + "".join(f"{n.upper().replace('_', ' '):>12}" for n in names)]
    for name, counts in [*report["suites"].items(), ("total", report["total"])]:
        lines.append(f"{name:18}" + "".join(f"{counts[n]:>12,}" for n in names))
    lines += report["not_the_same"] + unproven(report)
    lines += [f"not to be had here: {name}: {why}" for name, why in report["missing"].items()]
    lines += ["no test, bare too: " + text for text in report["no_tests"]]
    total = report["total"]
    lines.append(f"{total['tests']} tests of {total['units']} units: {total['differs']} differ, "
                 f"{total['flaky']} flaky bare too, {total['once']} differed once and never again")
    return "\n".join(lines)
