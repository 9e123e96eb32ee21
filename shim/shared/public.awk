# SPDX-License-Identifier: MIT
#
# Makes the public header of segment.h: what it includes of ours is put in its place, so that one
# file is enough.
{
	if (match($0, /^#include "[^"]*"/)) {
		path = substr($0, RSTART + 10, RLENGTH - 11)
		while ((getline line < path) > 0)
			print line
		close(path)
		next
	}
	print
}
