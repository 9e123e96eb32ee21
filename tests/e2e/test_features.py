# SPDX-License-Identifier: MIT
"""twshim --version and twshim features: what is said is what this machine does."""
import ctypes
import json
import os
import platform
import re
import shutil
import socket
import struct
import subprocess

from harness import Skip, defined

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
SECCOMP_GET_NOTIF_SIZES, SYS_SECCOMP = 3, {"x86_64": 317, "aarch64": 277}


def features(t, *before, **more):
    """{id: feature} of `features --json`."""
    result = json.loads(t.run(*before, t.twshim, "features", "--json", shim=False, **more).stdout)
    assert result["schema"] == "twshim.features/1"
    return {feature["id"]: feature for feature in result["features"]}


def takes(level, option, value):
    """Whether a TCP socket takes the option."""
    with socket.socket() as conn:
        try:
            conn.setsockopt(level, option, value)
        except OSError:
            return False
    return True


def test_version_names_the_build_the_layouts_and_the_c_library(t):
    lines = t.run(t.twshim, "--version", shim=False).stdout.decode().splitlines()
    assert re.fullmatch(r"twshim \d+\.\d+\.\d+", lines[0]), lines
    commit = re.fullmatch(r"commit ([0-9a-f]{7,}(-dirty)?|unknown)", lines[1])
    assert commit, lines
    abi = [defined(f"{name}_{part}", path) for name, path in
           (("TWS_ABI", "shim/shared/segment.h"),
            ("TWS_POLICY_ABI", "shim/shared/policy_image.h")) for part in ("MAJOR", "MINOR")]
    assert lines[2:] == ["ABI {}.{} of segments, {}.{} of policies".format(*abi),
                         " ".join(platform.libc_ver())], lines


def test_what_is_said_of_the_kernel_is_what_the_kernel_does(t):
    """Each that can be tried in another way than twshim's is."""
    found = features(t)
    ip, tcp = socket.IPPROTO_IP, socket.IPPROTO_TCP
    libc = ctypes.CDLL(None, use_errno=True)
    sizes = ctypes.create_string_buffer(64)
    for name, expected in {
            "linger2": takes(tcp, 8, -1),
            "port_range_option": takes(ip, 51, struct.pack("I", 65535 << 16 | 1)),
            "late_bind": takes(ip, 24, 1),
            "tw_reuse_delay": os.path.exists("/proc/sys/net/ipv4/tcp_tw_reuse_delay"),
            "port_step_width": os.path.exists("/proc/sys/net/ipv4/ip_local_port_step_width"),
            "btf": os.path.exists("/sys/kernel/btf/vmlinux"),
            "user_notification": libc.syscall(SYS_SECCOMP[platform.machine()],
                                              SECCOMP_GET_NOTIF_SIZES, 0, sizes) == 0,
            "destroy_group": True, "sock_diag": True, "socket_cookie": True, "library": True,
    }.items():
        assert found[name]["available"] is expected, (name, found[name])
    assert found["library"]["detail"] == os.path.abspath(t.library)
    assert found["place"]["detail"] == t.dir
    assert not t.run("ss", "-Htan", shim=False).stdout, "a socket is left"


def test_what_a_user_may_not_do_is_no_with_the_reason(t):
    t.need("setpriv")
    directory = os.path.join(t.scratch, "alone")
    os.makedirs(directory)
    os.chmod(t.scratch, 0o755)
    alone = shutil.copy(t.twshim, directory)
    os.chmod(directory, 0o755)
    with open("/proc/sys/kernel/unprivileged_bpf_disabled", encoding="utf-8") as file:
        if file.read().strip() == "0":
            raise Skip("this kernel lets every user load BPF programs")
    result = t.run(*NOBODY, alone, "features", "--json", shim=False)
    found = {f["id"]: f for f in json.loads(result.stdout)["features"]}
    assert found["bpf"]["available"] is False, found["bpf"]
    assert found["bpf"]["detail"] == "Operation not permitted"
    if not os.path.exists("/usr/local/lib/libtwshim.so"):
        assert found["library"]["available"] is False and found["library"]["detail"]
    text = t.run(*NOBODY, alone, "features", shim=False).stdout.decode()
    assert re.search(r"^  no  bpf\(2\) .*\n(?: {32}.*\n)*? {32}.*\(Operation\s+not\s+permitted", text,
                     re.M), text
    assert all(len(line) <= 80 for line in text.splitlines()[1:]), text


def test_a_system_call_that_is_taken_away_is_missed(t):
    """As in a sandbox: no version tells it."""
    refuse = t.file("refuse.py", """
import ctypes, os, struct, sys
code = struct.pack("HBBI" * 4, 0x20, 0, 0, 0, 0x15, 0, 1, int(sys.argv[1]),
                   0x06, 0, 0, 0x00050000 | 38, 0x06, 0, 0, 0x7fff0000)
held = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(held)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
os.execv(sys.argv[2], sys.argv[2:])
""")
    found = features(t, "/usr/bin/python3", refuse, "437")  # openat2
    assert found["openat2"]["available"] is False
    assert found["openat2"]["detail"] == "Function not implemented"
    assert found["close_range"]["available"] is True


def test_every_feature_says_what_it_is_for(t):
    found = features(t)
    text = t.run(t.twshim, "features", "--color", "never", shim=False).stdout.decode()
    rows = re.findall(r"^  (yes|no |\?  ) ", text, re.M)
    assert len(rows) == len(found) >= 25
    for feature in found.values():
        assert feature["purpose"] and feature["name"] in text
        assert feature["available"] is True or feature["detail"] or feature["since"], feature
    assert subprocess.run([t.twshim, "features", "x"], capture_output=True,
                          check=False).returncode == 2
