# SPDX-License-Identifier: MIT
# wrapped.def -> the linker's version script: these symbols and no others.
BEGIN { print "{"; print "global:" }
/^WRAP\(/ { split($0, part, ", *"); print "\t" part[2] ";" }
END { print "local: *;"; print "};" }
