# SPDX-License-Identifier: MIT
#
# A command's --help as a manual page, man(7). Variables: title (TWSHIM-RUN), name, what (one
# line), version, date; in the environment: see.
function escaped(text) {
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	gsub(/`/, "\\(ga", text)
	gsub(/"/, "\\(dq", text)
	return text ~ /^[.']/ ? "\\&" text : text
}
function section(word) { print ".SH " word; where = word }
function entry(line,    at) { # "  -x, --xy WHAT   text", or "  word   text"
	sub(/^ +/, "", line)
	at = match(line, /   *[^ ]/)
	if (where != "OPTIONS" && line ~ /^-/)
		section("OPTIONS")
	print ".TP\n.B " escaped(at ? substr(line, 1, at - 1) : line)
	if (at) {
		line = substr(line, at)
		sub(/^ +/, "", line)
		print escaped(line)
	}
	listed = 1
}
BEGIN {
	print ".\\\" Made from --help by man/page.awk."
	printf ".TH %s 1 %s \"twshim %s\" \"User Commands\"\n", title, date, version
	section("NAME")
	print escaped(tolower(title)) " \\- " escaped(what)
}
/^Usage: / {
	section("SYNOPSIS")
	sub(/^Usage: /, "")
	print ".B " escaped($0)
	section("DESCRIPTION")
	next
}
/^$/ { if (listed || where != "DESCRIPTION" || said) gap = 1; next }
{ match($0, /^ +/); indent = RLENGTH }
indent >= 2 && indent <= 6 && where != "EXAMPLES" { entry($0); gap = 0; next }
indent > 6 { sub(/^ +/, ""); print escaped($0); next }
/^Examples:$/ { section("EXAMPLES"); next }
where == "EXAMPLES" && indent <= 6 { sub(/^ +/, ""); print ".TP\n.B " escaped($0); next }
/^Exit status: / {
	section("EXIT STATUS")
	sub(/^Exit status: /, "")
	gap = listed = 0
}
{
	if (where == "OPTIONS")
		section("NOTES")
	else if (gap)
		print ".PP"
	gap = listed = 0
	said = 1
	print escaped($0)
}
END {
	section("SEE ALSO")
	print ENVIRON["see"]
}
