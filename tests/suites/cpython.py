# SPDX-License-Identifier: MIT
"""CPython's own tests, of libpython3.11-testsuite, with Debian's interpreter: everything that
concerns descriptors, sockets, processes, signals and threads."""
import os

from suites.unit import Suite, Unit, parse_junit

PYTHON = "/usr/bin/python3.11"
TESTS = "/usr/lib/python3.11/test"
SOCKETS = ("socket", "ssl", "select", "selectors", "poll", "epoll", "asyncore", "asynchat",
           "socketserver", "timeout", "ftplib", "httplib", "httpservers", "imaplib", "poplib",
           "smtplib", "smtpd", "nntplib", "telnetlib", "urllib", "urllib2", "urllib2_localnet",
           "urllib_response", "robotparser", "xmlrpc", "docxmlrpc", "wsgiref", "http_cookiejar",
           "logging", "hashlib", "uuid", "ipaddress")
PROCESSES = ("subprocess", "popen", "os", "posix", "pty", "openpty", "fork1", "wait3", "wait4",
             "signal", "threadsignals", "eintr", "file_eintr", "faulthandler", "atexit",
             "cmd_line", "cmd_line_script", "multiprocessing_fork", "multiprocessing_spawn",
             "multiprocessing_forkserver", "multiprocessing_main_handling",
             "concurrent_futures", "threading", "threading_local", "thread", "queue",
             "embed", "audit", "gdb", "regrtest", "venv", "c_locale_coercion", "utf8_mode",
             "runpy", "site", "sys", "script_helper", "support", "resource", "platform",
             "pdb", "posixpath", "syslog", "crashers", "tracemalloc", "interpreters",
             "_xxsubinterpreters", "ctypes", "dtrace", "repl", "readline", "webbrowser")
FILES = ("fcntl", "ioctl", "file", "fileio", "io", "bufio", "largefile", "mmap", "tempfile",
         "shutil", "tarfile", "zipfile", "gzip", "mailbox", "pathlib", "dbm", "dbm_gnu",
         "dbm_ndbm", "dbm_dumb", "fileinput", "pipes", "shelve", "threadedtempfile",
         "contextlib", "contextlib_async", "gc", "finalization", "weakref", "getpass")
# Waits for ever, also without the shim, for the host of a virtual machine.
UNFIT = "*VSOCK*"
# What `make check` runs: the classes of a few seconds each, by regrtest's own --match.
QUICK = {
    "socket": ("GeneralModuleTests", "BasicTCPTest", "BasicTCPTest2", "TCPCloserTest",
               "NonBlockingTCPTests", "FileObjectClassTestCase", "NetworkConnectionNoServer",
               "NetworkConnectionAttributesTest", "InheritanceTest", "SendfileUsingSendTest",
               "SendmsgTCPTest", "RecvmsgTCPTest", "ContextManagersTest", "CreateServerTest"),
    "asyncio.test_streams": ("StreamTests",),
    "asyncio.test_sock_lowlevel": (),
    "asyncio.test_unix_events": (),
    "subprocess": ("POSIXProcessTestCase", "ContextManagerTests", "RunFuncTestCase"),
    "selectors": ("EpollSelectorTestCase",),
    "httplib": (), "socketserver": (), "asyncore": (),
}


def command(name, *matching):
    """regrtest's."""
    picked = [word for match in matching for word in ("-m", match)]
    return [PYTHON, "-m", "test", "-u", "network,cpu,subprocess,decimal", "--randseed", "1",
            "--ignore", UNFIT, "--junit-xml", "{scratch}/junit.xml", *picked, name]


def unit(name, matching=(), quick=False, label=None):
    """One test module."""
    module = "test_" + name
    return Unit(label or name, command(module, *matching), parse_junit, quick=quick,
                narrow=lambda test: command(module, test), timeout=900)


def there(name):
    """Whether this version of CPython has it."""
    path = os.path.join(TESTS, *("test_" + name).split("."))
    return os.path.exists(path + ".py") or os.path.isdir(path)


def units(_):
    """All that this CPython has."""
    found = [unit(name, [f"*.{c}.*" for c in classes], True, name + " (quick)")
             for name, classes in QUICK.items()]
    asyncio = [f"asyncio.{file[:-3]}" for file in sorted(os.listdir(TESTS + "/test_asyncio"))
               if file.startswith("test_") and "windows" not in file]
    return found + [unit(n) for n in (*SOCKETS, *asyncio, *PROCESSES, *FILES) if there(n)]


SUITES = [Suite("cpython", ["python3.11", "libpython3.11-testsuite"], units)]
