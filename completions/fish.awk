# SPDX-License-Identifier: MIT
#
# The completion for fish, of the two files that make-completions writes.
function single(text) { gsub(/[\\\047]/, "\\\\&", text); return "\047" text "\047" }
function values(kind) {
	if (kind ~ /^words:/)
		return " -x -a " single(substr(kind, 7))
	if (kind == "file")
		return " -r -F"
	if (kind == "directory")
		return " -x -a \047(__fish_complete_directories)\047"
	if (kind == "process")
		return " -x -a \047(__fish_complete_pids)\047"
	if (kind == "unit")
		return " -x -a \047(__twshim_units)\047"
	if (kind == "application")
		return " -x -a \047(__twshim_applications)\047"
	if (kind == "command")
		return " -x -a \047(__twshim_program)\047"
	return kind == "" ? "" : " -x"
}
BEGIN {
	print "# Completion of twshim for fish. Made from the tables of options by completions/fish.awk."
	print "function __twshim_is"
	print "    set -l words (commandline -opc)"
	print "    set -l last (count twshim $argv)"
	print "    test (count $words) -ge $last; and test \"$words[2..$last]\" = \"$argv\""
	print "end"
	print "function __twshim_needs"
	print "    set -l words (commandline -opc)"
	print "    test (count $words) -eq (count twshim $argv); and test \"$words[2..]\" = \"$argv\""
	print "end"
	print "function __twshim_units"
	print "    systemctl list-unit-files --type=service --no-legend --plain 2>/dev/null | string replace -r '\\.service .*' ''"
	print "end"
	print "function __twshim_applications"
	print "    twshim ps --all 2>/dev/null | awk 'NR > 1 { print $2 }'"
	print "end"
	print "function __twshim_program"
	print "    set -l words (commandline -opc)"
	print "    if set -l at (contains -i -- -- $words)"
	print "        set -e words[1..$at]"
	print "        __fish_complete_subcommand --commandline $words (commandline -ct)"
	print "    else"
	print "        __fish_complete_command"
	print "    end"
	print "end"
	print "complete -c twshim -f"
	print "complete -c twshim -n 'test (count (commandline -opc)) -eq 1' -l help -d 'this text'"
	print "complete -c twshim -n 'test (count (commandline -opc)) -eq 1' -l version -d 'which build this is'"
}
FILENAME ~ /commands$/ {
	needs = sub(/^policy /, "") ? "__twshim_needs policy" : "test (count (commandline -opc)) -eq 1"
	printf "complete -c twshim -n %s -a %s -d %s\n", single(needs), single($1), single($2)
	next
}
$2 == "" {
	if ($4 != "")
		printf "complete -c twshim -n %s%s\n", single("__twshim_is " $1), \
			$4 == "file" ? " -F" : values($4)
	next
}
{
	printf "complete -c twshim -n %s -l %s%s%s -d %s\n", single("__twshim_is " $1), $2, \
		$3 == "" ? "" : " -s " $3, values($4), single($5)
}
