# SPDX-License-Identifier: MIT
# The sources -> CALL(name), or RARE_CALL(name), for each system call that the shim makes
# itself. The tag of a call is its number, SYS_name, in the place where it is made. The
# numbers in entry_syscall.c are those of the program's calls.
FILENAME ~ /entry_syscall/ || /^[ \t]*(\*|\/\*|#)/ { next }
{
	while (match($0, /(TWS_RARELY\()?SYS_[a-z0-9_]+/)) {
		tag = substr($0, RSTART, RLENGTH)
		$0 = substr($0, RSTART + RLENGTH)
		name = tag
		sub(/.*SYS_/, "", name)
		usual[name] += tag !~ /RARELY/
	}
}
END { for (name in usual) print (usual[name] ? "CALL(" : "RARE_CALL(") name ")" | "sort" }
