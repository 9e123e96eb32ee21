# SPDX-License-Identifier: MIT
"""What a release is made of: the archive, its contents and the list of materials are the same wherever they
are made."""
import filecmp
import json
import os
import re
import shutil
import subprocess
import tarfile

from harness import SOURCE, Skip

# Two machines: other paths, time zones, languages and permissions.
MACHINES = (("one", "UTC", "C", 0o022), ("another/place", "Asia/Kathmandu", "C.UTF-8", 0o077))


def archive(t, name, zone, language, mask):
    """The path of what `make dist` makes in a clone."""
    if not os.path.exists(os.path.join(SOURCE, ".git")):
        raise Skip("this is no git repository")
    where = os.path.join(t.scratch, name)
    env = {**os.environ, "TZ": zone, "LC_ALL": language}
    git = ["git", "-c", "safe.directory=*"]
    subprocess.run([*git, "clone", "-q", "--shared", SOURCE, where], check=True, env=env, umask=mask)
    subprocess.run(["make", "-s", "-C", where, "dist", "BUILD=made"], check=True, env=env, umask=mask,
                   stdout=subprocess.DEVNULL)
    made, = [f for f in os.listdir(os.path.join(where, "made")) if f.endswith(".tar.gz")]
    return os.path.join(where, "made", made)


def test_two_archives_and_two_builds_of_them_are_equal(t):
    paths = [archive(t, *machine) for machine in MACHINES]
    assert filecmp.cmp(*paths, shallow=False)
    commit = subprocess.run(["git", "-C", os.path.dirname(paths[0]), "rev-parse", "HEAD"], check=True,
                            stdout=subprocess.PIPE).stdout.decode()
    libraries = []
    for path in paths:
        where = os.path.dirname(path)
        with tarfile.open(path) as file:
            file.extractall(where)
        top = path[:-len(".tar.gz")]
        with open(os.path.join(top, "COMMIT"), encoding="utf-8") as file:
            assert file.read() == commit
        subprocess.run(["make", "-s", "-j2", "-C", top, "CFLAGS=-O0 -g", "build/libtwshim.so"],
                       check=True, stdout=subprocess.DEVNULL)
        libraries.append(os.path.join(top, "build/libtwshim.so"))
    assert filecmp.cmp(*libraries, shallow=False)


def test_the_list_of_materials_names_what_is_linked_loaded_and_embedded(t):
    t.need("dpkg-query")
    make = [os.path.join(SOURCE, "packaging/make-sbom"), t.twshim, "libmnl-dev no-such-package",
            "libbpf-dev"]
    texts = [t.run(*make, shim=False).stdout for _ in range(2)]
    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    roles = {c["name"]: c["properties"][0]["value"] for c in document["components"]}
    version = t.run(t.twshim, "--version", shim=False).stdout.decode().split()
    assert document["metadata"]["component"]["version"] == version[1]
    needed = t.run("ldd", t.twshim, shim=False).stdout.decode()
    for library, package in (("libmnl.so", "libmnl0"), ("libconfig.so", "libconfig9"),
                             ("libjansson.so", "libjansson4"), ("libc.so", "libc6")):
        assert library in needed and roles[package] == "linked", roles
    assert roles["libmnl-dev"] == "build" and "no-such-package" not in roles
    assert roles["libjs-chart.js"] == "embedded" and roles["libmicrohttpd12"] == "loaded"
    references = {c["bom-ref"] for c in document["components"]}
    assert len(references) == len(document["components"])
    assert set(document["dependencies"][0]["dependsOn"]) < references


def test_the_workflows_run_what_anybody_can_run(t):
    """They are YAML with a job, and every file of the tree that a step runs is there."""
    try:
        import yaml  # pylint: disable=import-outside-toplevel
    except ImportError:
        raise Skip("python3-yaml is not installed") from None
    folder = os.path.join(SOURCE, ".github/workflows")
    runs = []
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            workflow = yaml.safe_load(file)
        assert workflow["permissions"] == {"contents": "read"}, name
        runs += [step["run"] for job in workflow["jobs"].values() for step in job["steps"]
                 if "run" in step]
        if shutil.which("actionlint"):
            t.run("actionlint", os.path.join(folder, name), shim=False)
    assert ".ci/run" in runs, runs
    for run in runs:
        if run.startswith((".ci/", "packaging/", "tests/")):
            assert os.access(os.path.join(SOURCE, run.split()[0]), os.X_OK), run


def text_of(*path):
    """A file of the sources."""
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def test_packages_have_the_version_and_need_what_the_makefile_says(t):
    version = re.search(r"^VERSION := (.*)$", text_of("Makefile"), re.M).group(1)
    assert f"twshim {version}\n" in t.run(t.twshim, "--version", shim=False).stdout.decode()
    for pattern, path in ((r"^twshim \((.*)-1\)", "debian/changelog"),
                          (r"^Version: +(.*)$", "packaging/rpm/twshim.spec"),
                          (r"^pkgver=(.*)$", "packaging/arch/PKGBUILD"),
                          (r"^## ([\d.]+)", "CHANGELOG.md")):
        assert re.search(pattern, text_of(path), re.M).group(1) == version, path
    source = text_of("debian/control").split("\n\n", maxsplit=1)[0]
    depends = set(re.findall(r"[ :]([a-z][\w.+-]+)(?= *[<,(\n]|$)",
                             source.split("Build-Depends", 1)[1].split("Standards", 1)[0]))
    packages = re.search(r"^BUILD_PACKAGES := (.*?[^\\])$", text_of("Makefile"), re.M | re.S)
    needed = set(packages.group(1).replace("\\", " ").split())
    assert needed <= depends, needed - depends
